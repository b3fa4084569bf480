"""Providers by their names in oauth2-proxy, with a real provider that answers as they do."""

import time

import pytest

from harness.provider import Provider
from harness.service import arrived, client

# The default claims of Keycloak's access tokens.
ROLES = {
    "realm_access": {"roles": ["offline_access", "staff"]},
    "resource_access": {"shop": {"roles": ["clerk"]}, "account": {"roles": ["view-profile"]}},
}


@pytest.fixture(scope="module")
def shared_keycloak():
    provider = Provider([client()], access_token_claims=ROLES)
    yield provider
    provider.stop()


@pytest.fixture
def keycloak(shared_keycloak):
    shared_keycloak.reset()
    shared_keycloak.control("options", access_token_claims=ROLES)
    return shared_keycloak


def test_keycloak_roles_are_groups(service, keycloak):
    browser = service(provider=keycloak, provider_name="keycloak-oidc").browser()
    groups = arrived(browser.sign_in("alice", "/echo"))["x-forwarded-groups"]
    assert groups.split(",") == [
        "admins",
        "staff",
        "role:offline_access",
        "role:staff",
        "role:account:view-profile",
        "role:shop:clerk",
    ]


@pytest.mark.parametrize(("role", "status"), [("shop:clerk", 200), ("staff", 200), ("shop:boss", 403)])
def test_keycloak_role_in_allowed_groups_lets_in(service, keycloak, role, status):
    browser = service(provider=keycloak, provider_name="keycloak-oidc", allowed_roles=[role]).browser()
    assert browser.sign_in("alice", "/echo").status_code == status


def test_roles_change_with_a_refresh(service, keycloak):
    browser = service(provider=keycloak, provider_name="keycloak-oidc", cookie_refresh="1s").browser()
    browser.sign_in("alice", "/echo")
    keycloak.control("options", access_token_claims={"realm_access": {"roles": ["promoted"]}})
    time.sleep(1.1)
    page = browser.get("/echo")
    assert keycloak.seen("token", "refresh_token")
    assert "role:promoted" in arrived(page)["x-forwarded-groups"].split(",")
    assert "role:staff" not in arrived(page)["x-forwarded-groups"].split(",")


def test_opaque_access_token_has_no_roles(service):
    browser = service(provider_name="keycloak-oidc").browser()
    assert browser.sign_in("alice", "/echo").status_code == 502

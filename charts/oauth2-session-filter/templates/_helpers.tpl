{{/*
The templates do not contain the manifests. files/ leads to those of envoy-config/, which the end-to-end tests run, and a
template changes the fields that depend on values.
*/}}

{{/* A manifest of files/, with the namespace, the name and the labels of the release: list of the root and the file. */}}
{{- define "oauth2-session-filter.manifest" -}}
{{- $root := index . 0 -}}
{{- $text := $root.Files.Get (printf "files/%s" (index . 1)) -}}
{{- if $root.Values.secret.files.enabled -}}
{{- $text = regexReplaceAll "(?m)^( *)#SECRETS " $text "${1}" -}}
{{- end -}}
{{- $manifest := fromYaml $text -}}
{{- $about := $manifest.metadata -}}
{{- $_ := set $about "namespace" $root.Release.Namespace -}}
{{- $_ := set $about "name" ($about.name | replace "oauth2-session" $root.Values.name) -}}
{{- $_ := set $about "labels" (include "oauth2-session-filter.labels" $root | fromYaml) -}}
{{- toYaml $manifest -}}
{{- end -}}

{{- define "oauth2-session-filter.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "oauth2-session-filter.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The names of the variables that the filter may read, as a YAML list. A secret that is a file is no variable. */}}
{{- define "oauth2-session-filter.variables" -}}
{{- if not .Values.secret.files.enabled }}
{{- range $name, $of := .Values.secret.environment }}{{ if $of }}
- {{ $name }}
{{- end }}{{ end }}
{{- end }}
{{- end -}}

{{/* The filter JSON. */}}
{{- define "oauth2-session-filter.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.secret.files.enabled -}}
{{- $_ := set $config "secrets_from" "bridge" -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "oauth2-session-filter.guard" -}}
{{- if .Values.guard.enabled }}{{ dig "pass_guard_header" "" .Values.config }}{{ end -}}
{{- end -}}

{{- define "oauth2-session-filter.resources" -}}
{{ .Values.name }}-resources
{{- end -}}

{{- define "oauth2-session-filter.prefix" -}}
{{- dig "proxy_prefix" "/oauth2" .Values.config | trimSuffix "/" -}}
{{- end -}}

{{- define "oauth2-session-filter.hasBackchannelLogout" -}}
{{- if and .Values.backchannelLogout.enabled .Values.bridge.enabled (dig "backchannel_logout" false .Values.config) }}yes{{ end -}}
{{- end -}}

{{/* Changes the certificate authorities of a cluster: list of the root and the cluster. */}}
{{- define "oauth2-session-filter.setAuthorities" -}}
{{- $values := (index . 0).Values -}}
{{- $cluster := index . 1 -}}
{{- if eq $cluster.name "oauth2_session_https" -}}
{{- $_ := set $cluster.transport_socket.typed_config.common_tls_context.validation_context "trusted_ca" $values.bridge.providerAuthorities -}}
{{- else if eq $cluster.name "oauth2_session_redis_tls" -}}
{{- $_ := set $cluster.transport_socket.typed_config.common_tls_context.validation_context "trusted_ca" $values.bridge.redisAuthorities -}}
{{- end -}}
{{- end -}}

{{/* The reference to the Gateway for a policy. */}}
{{- define "oauth2-session-filter.targetRef" -}}
group: gateway.networking.k8s.io
kind: Gateway
name: {{ .Values.envoyGateway.gateway }}
{{- if .Values.envoyGateway.onlyThisListener }}
sectionName: {{ .Values.envoyGateway.listener }}
{{- end }}
{{- end -}}

{{/* The name of Envoy's listener and of its routes. */}}
{{- define "oauth2-session-filter.listener" -}}
{{ printf "%s/%s/%s" .Release.Namespace .Values.envoyGateway.gateway .Values.envoyGateway.listener }}
{{- end -}}

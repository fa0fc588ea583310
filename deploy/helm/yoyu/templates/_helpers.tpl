{{- define "yoyu.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "yoyu.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 58 | trimSuffix "-" }}
{{- else }}
{{- $name := include "yoyu.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 58 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 58 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "yoyu.selectorLabels" -}}
app.kubernetes.io/name: {{ include "yoyu.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "yoyu.labels" -}}
{{ include "yoyu.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "yoyu.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "yoyu.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "yoyu.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- /* The prefix of every route: the path of web.externalUrl. */ -}}
{{- define "yoyu.prefix" -}}
{{- with .Values.web.externalUrl }}{{ (urlParse .).path | trimSuffix "/" }}{{ end }}
{{- end }}

{{- /* The one source of /secrets; "" when there is none. */ -}}
{{- define "yoyu.secrets" -}}
{{- $all := list }}
{{- if .Values.secrets.existingSecret }}{{ $all = append $all "existingSecret" }}{{ end }}
{{- if .Values.secrets.secretsStoreCSI.enabled }}{{ $all = append $all "secretsStoreCSI" }}{{ end }}
{{- if .Values.secrets.externalSecrets.enabled }}{{ $all = append $all "externalSecrets" }}{{ end }}
{{- if gt (len $all) 1 }}
{{- fail (printf "secrets: only one of %s can be mounted at /secrets" (join ", " $all)) }}
{{- end }}
{{- join "" $all }}
{{- end }}

{{- /* What yoyu asks, of the cluster or of each namespace: it lists, then watches. */ -}}
{{- define "yoyu.rules" -}}
- apiGroups: [autoscaling.k8s.io]
  resources: [verticalpodautoscalers, verticalpodautoscalercheckpoints]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets, replicasets, controllerrevisions]
  verbs: [list, watch]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods, replicationcontrollers, limitranges, resourcequotas]
  verbs: [list, watch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
# What single pods use, where a metrics server says it; it cannot be watched.
- apiGroups: [metrics.k8s.io]
  resources: [pods]
  verbs: [list]
{{- end }}

{{- /* With rbac.namespaces every source that asks this cluster for objects names some of them, or it is refused. */ -}}
{{- define "yoyu.namespaced" -}}
{{- $allowed := .Values.rbac.namespaces }}
{{- $config := .Values.config }}
{{- if kindIs "string" $config }}{{ $config = fromYaml $config }}{{ end }}
{{- if and $allowed $config (kindIs "slice" (get $config "sources")) }}
{{- range $source := $config.sources }}
{{- $asks := false }}
{{- if kindIs "map" $source }}
{{- if and (eq (toString $source.type) "kubernetes") (not $source.objects) }}{{ $asks = $source }}{{ end }}
{{- if and (eq (toString $source.type) "scrape") (kindIs "map" $source.kubernetes) }}{{ $asks = $source.kubernetes }}{{ end }}
{{- end }}
{{- if and $asks (not $asks.kubeconfig) }}
{{- if not $asks.namespaces }}
{{- fail (printf "config: source %v watches all namespaces, and rbac.namespaces allows %s: name them under its namespaces" $source.name (join ", " $allowed)) }}
{{- end }}
{{- range $asks.namespaces }}
{{- if not (has . $allowed) }}
{{- fail (printf "config: source %v watches namespace %v, which is not among rbac.namespaces: %s" $source.name . (join ", " $allowed)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The annotation by which the Datadog Agent scrapes yoyu, or "". One route to Datadog, never both: the
same names from two sides are twice the custom metrics. */ -}}
{{- define "yoyu.datadogAgent" -}}
{{- $agent := .Values.datadogAgent.enabled }}
{{- range $key, $text := .Values.podAnnotations }}
{{- if hasPrefix "ad.datadoghq.com/yoyu." $key }}
{{- if $.Values.datadogAgent.enabled }}
{{- fail (printf "podAnnotations: %s beside datadogAgent.enabled: the Agent would scrape yoyu twice; take one of them out" $key) }}
{{- end }}
{{- $agent = true }}
{{- end }}
{{- end }}
{{- if $agent }}
{{- $config := .Values.config }}
{{- if kindIs "string" $config }}{{ $config = fromYaml $config }}{{ end }}
{{- if and $config (not .Values.existingConfigMap) }}
{{- range $config.sinks }}
{{- if eq (default "" .type) "datadog" }}
{{- fail (printf "config: sink %s sends to Datadog what its Agent scrapes already: one route, never both; take the sink out, or the Agent's annotation (datadogAgent.enabled, podAnnotations)" (default "datadog" .name)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.datadogAgent.enabled }}
{{- if .Values.web.configSecret }}
{{- fail "datadogAgent.enabled: the annotation holds no password and no certificate, which web.configSecret may ask for; write it yourself under podAnnotations" }}
{{- end }}
{{- $patch := .Files.Get "files/datadog-agent.yaml" | fromYaml }}
{{- $checks := index $patch.spec.template.metadata.annotations "ad.datadoghq.com/yoyu.checks" | fromJson }}
{{- range $checks.openmetrics.instances }}
{{- $_ := set . "openmetrics_endpoint" (printf "http://%%%%host%%%%:9912%s/metrics" (include "yoyu.prefix" $)) }}
{{- $_ = set . "tags" $.Values.datadogAgent.tags }}
{{- end }}
{{- $checks | toRawJson }}
{{- end }}
{{- end }}

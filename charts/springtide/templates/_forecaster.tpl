{{- /* "true" where there is a forecaster: it needs a Prometheus. */ -}}
{{- define "springtide.forecaster" -}}
{{- if and .Values.forecaster.enabled .Values.prometheus.url -}}true{{- end -}}
{{- end -}}

{{- /* "true" where training has a place for what it learns. */ -}}
{{- define "springtide.training" -}}
{{- if and (include "springtide.forecaster" .) .Values.forecaster.persistence.enabled .Values.forecaster.training.enabled -}}true{{- end -}}
{{- end -}}

{{- define "springtide.forecasterName" -}}
{{- printf "%s-forecaster" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "springtide.forecasterSelector" -}}
app.kubernetes.io/name: springtide-forecaster
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "springtide.forecasterLabels" -}}
{{ include "springtide.forecasterSelector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: springtide
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* Beside the forecaster's: a pod that trains must not look like it to its Service. */ -}}
{{- define "springtide.trainingLabels" -}}
app.kubernetes.io/name: springtide-training
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: springtide
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "springtide.forecasterClaim" -}}
{{- .Values.forecaster.persistence.existingClaim | default (include "springtide.forecasterName" .) -}}
{{- end -}}

{{- define "springtide.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "springtide.name" -}}
{{- printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "springtide.selector" -}}
app.kubernetes.io/name: springtide-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "springtide.metricsName" -}}
{{- printf "%s-metrics" (include "springtide.name" . | trunc 55 | trimSuffix "-") -}}
{{- end -}}

{{- define "springtide.labels" -}}
{{ include "springtide.commonLabels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "springtide.metricsLabels" -}}
{{ include "springtide.commonLabels" . }}
app.kubernetes.io/component: metrics
{{- end -}}

{{- define "springtide.commonLabels" -}}
{{ include "springtide.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: springtide
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "springtide.servedNamespaces" -}}
{{- with .Values.namespaces -}}
matchResources:
  namespaceSelector:
    matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
{{- end -}}
{{- end -}}

{{- define "springtide.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote -}}
{{- end -}}

{{- define "springtide.pulling" -}}
{{- with .Values.imagePullSecrets -}}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end -}}
{{- end -}}

{{- define "springtide.placing" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{- define "springtide.testName" -}}
{{- printf "%s-test" (include "springtide.name" . | trunc 58 | trimSuffix "-") -}}
{{- end -}}

{{- define "springtide.testLabels" -}}
app.kubernetes.io/name: springtide-test
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: springtide
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

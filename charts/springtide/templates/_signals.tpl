{{- /* The scrape configuration, as Prometheus reads it. */ -}}
{{- define "springtide.scrape" -}}
scrape_configs:
- job_name: springtide-model-servers
  scrape_interval: {{ .Values.metrics.scrapeInterval }}
  # What a pod says of itself never wins over what Kubernetes says of it.
  honor_labels: false
  # A pod that goes wild is not scraped, rather than being everyone's trouble.
  sample_limit: 20000
  kubernetes_sd_configs:
  - role: pod
    selectors: [{role: pod, label: springtide.dev/service}]
    {{- with .Values.namespaces }}
    namespaces: {names: {{ toJson . }}}
    {{- end }}
  relabel_configs:
  {{- .Files.Get "files/signals.relabel.yaml" | nindent 2 }}
- job_name: springtide-gateways
  scrape_interval: {{ .Values.metrics.scrapeInterval }}
  honor_labels: false
  metrics_path: /stats/prometheus
  kubernetes_sd_configs:
  - role: pod
    selectors: [{role: pod, label: "app.kubernetes.io/managed-by=envoy-gateway,app.kubernetes.io/component=proxy"}]
    # Only here: a proxy says of which service its numbers are.
    namespaces: {names: {{ toJson .Values.metrics.gatewayNamespaces }}}
  relabel_configs:
  {{- .Files.Get "files/signals.gateway-relabel.yaml" | nindent 2 }}
  metric_relabel_configs:
  {{- .Files.Get "files/signals.gateway-metrics.yaml" | nindent 2 }}
{{- end -}}

{{- /* Prometheus' own relabelling, as the Prometheus Operator spells it. */ -}}
{{- define "springtide.relabelings" -}}
{{- . | replace "source_labels" "sourceLabels" | replace "target_label" "targetLabel" | trim -}}
{{- end -}}

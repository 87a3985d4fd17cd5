{{- define "instructree.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- /* Labels of one part. Takes a dict of the root and the part's name. */}}
{{- define "instructree.selector" -}}
app.kubernetes.io/name: instructree
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "instructree.labels" -}}
{{ include "instructree.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "instructree.image" -}}
{{ .Values.image.whole | default (printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion)) }}
{{- end }}

{{- /* What every pod has, but its containers. */}}
{{- define "instructree.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 256Mi}
  - name: data
    {{- if .Values.claim }}
    persistentVolumeClaim: {claimName: {{ .Values.claim }}}
    {{- else }}
    emptyDir: {sizeLimit: 4Gi}
    {{- end }}
{{- if .Values.config }}
  - name: config
    configMap: {name: {{ include "instructree.name" . }}-config}
{{- end }}
{{- end }}

{{- /* What every container has. */}}
{{- define "instructree.container" -}}
image: {{ include "instructree.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: data, mountPath: /data}
{{- if .Values.config }}
  - {name: config, mountPath: /etc/instructree, readOnly: true}
{{- end }}
{{- end }}

{{- /* A variable that comes from the Secret. Takes the root, its name, the key, and whether it may be missing. */}}
{{- define "instructree.secret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .root.Values.existingSecret }}
      key: {{ .key }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end }}

{{- define "instructree.services" -}}
{{ include "instructree.secret" (dict "root" . "name" "INSTRUCTREE_DATABASE_URL" "key" .Values.secretKeys.database) }}
{{ include "instructree.secret" (dict "root" . "name" "INSTRUCTREE_REDIS_URL" "key" .Values.secretKeys.broker) }}
{{ include "instructree.secret" (dict "root" . "name" "INSTRUCTREE_BROKER_URL" "key" .Values.secretKeys.hints "optional" true) }}
{{- end }}

{{- define "instructree.endpoints" -}}
{{ include "instructree.secret" (dict "root" . "name" "OPENAI_API_KEY" "key" .Values.secretKeys.apiKey "optional" true) }}
{{- range .Values.extraSecretKeys }}
{{ include "instructree.secret" (dict "root" $ "name" . "key" .) }}
{{- end }}
{{- with .Values.endpoint.baseUrl }}
- {name: OPENAI_BASE_URL, value: {{ . | quote }}}
{{- end }}
{{- with .Values.endpoint.model }}
- {name: OPENAI_MODEL, value: {{ . | quote }}}
{{- end }}
{{- if .Values.endpoint.allowHttp }}
- {name: INSTRUCTREE_ALLOW_HTTP, value: "1"}
{{- end }}
{{- if .Values.config }}
- {name: INSTRUCTREE_CONFIG, value: /etc/instructree/config.toml}
{{- end }}
{{- range $name, $value := .Values.extraEnv }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "instructree.metrics" -}}
- {name: INSTRUCTREE_METRICS, value: "0.0.0.0:{{ .Values.metrics.port }}"}
{{- end }}

{{- /* Alive is who has beaten in the database lately (exit code 0). Who has not (1) is started anew, at first and later;
       where the database does not answer (2) nobody can say, and a restart would only lose what is in hand.
       Each look is a program of its own, about a second of processor time: not too often. */}}
{{- define "instructree.probes" -}}
startupProbe:
  exec: {command: [instructree, {{ . }}, --health]}
  periodSeconds: 10
  timeoutSeconds: 15
  failureThreshold: 30
readinessProbe:
  exec: {command: [instructree, {{ . }}, --health]}
  periodSeconds: 60
  timeoutSeconds: 30
livenessProbe:
  exec: {command: [sh, -c, "instructree {{ . }} --health; [ $? -ne 1 ]"]}
  periodSeconds: 120
  timeoutSeconds: 30
  failureThreshold: 2
{{- end }}

{{- /* How many tasks of some kinds are due, will be due after a failure, or are in hand: those of a paused run only where
       somebody has them in hand. */}}
{{- define "instructree.backlog" -}}
SELECT count(*) FROM tasks k JOIN runs r ON r.id = k.run_id WHERE k.kind IN ('{{ join "', '" . }}') AND (r.status = 'running' AND k.state IN ('ready', 'leased') OR k.state = 'leased' AND k.lease_until > now())
{{- end }}

{{- define "instructree.checks" -}}
{{- $names := list }}
{{- range .Values.workers }}
{{- if has .name $names }}{{ fail (printf "workers: two classes are called %q" .name) }}{{ end }}
{{- $names = append $names .name }}
{{- if and .scale.enabled (gt (int .scale.min) (int .scale.max)) }}{{ fail (printf "workers: %q scales from %v to %v" .name .scale.min .scale.max) }}{{ end }}
{{- end }}
{{- if not (or .Values.endpoint.baseUrl .Values.config) }}{{ fail "name a model endpoint: endpoint.baseUrl, or several in config" }}{{ end }}
{{- end }}

{{- define "nri-cdi.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "nri-cdi.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "nri-cdi.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "nri-cdi.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "nri-cdi.selectorLabels" -}}
app.kubernetes.io/name: {{ include "nri-cdi.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "nri-cdi.labels" -}}
{{ include "nri-cdi.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "nri-cdi.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "nri-cdi.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "nri-cdi.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* The flags that both halves must agree on. */ -}}
{{- define "nri-cdi.args" -}}
{{- if .Values.settings }}
- --config=/etc/nri-cdi/settings.yaml
{{- end }}
{{- range .Values.cdi.specDirs }}
- --cdi-dir={{ if .mountParent }}/host{{ end }}{{ .path }}
{{- end }}
- --nri-socket={{ .Values.nri.socketDir }}/nri.sock
- --annotation-prefix={{ .Values.cdi.annotationPrefix }}
- --host-root=/host
- --log-level={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- end -}}

{{- define "nri-cdi.securityContext" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
# root, because the runtime's NRI directory and the kubelet's are root's; without a single capability
runAsUser: 0
runAsGroup: 0
capabilities:
  drop: [ALL]
{{- with .Values.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* For the port of this name. Liveness asks our own threads only; readiness says whether the runtime or the kubelet counts on us. */ -}}
{{- define "nri-cdi.probes" -}}
livenessProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 3
{{- end -}}

{{- define "nri-cdi.specMounts" -}}
{{- range $number, $dir := .Values.cdi.specDirs }}
- name: cdi-{{ $number }}
  mountPath: {{ if .mountParent }}/host{{ dir .path }}{{ else }}{{ .path }}{{ end }}
  {{- include "nri-cdi.readOnly" $ | nindent 2 }}
{{- end }}
{{- range $number, $path := .Values.hostPaths }}
- name: host-{{ $number }}
  mountPath: /host{{ $path }}
  {{- include "nri-cdi.readOnly" $ | nindent 2 }}
{{- end }}
{{- if .Values.settings }}
- name: settings
  mountPath: /etc/nri-cdi
  readOnly: true
{{- end }}
{{- end -}}

{{- /* Read-only with all that is mounted below, where the kubelet knows that. */ -}}
{{- define "nri-cdi.readOnly" -}}
readOnly: true
{{- if semverCompare ">=1.31.0-0" .Capabilities.KubeVersion.Version }}
recursiveReadOnly: IfPossible
{{- end }}
{{- end -}}

{{- define "nri-cdi.policyVersion" -}}
{{- if .Values.requiredPluginsPolicy.apiVersion -}}
{{- .Values.requiredPluginsPolicy.apiVersion -}}
{{- else if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
admissionregistration.k8s.io/v1
{{- else -}}
admissionregistration.k8s.io/v1beta1
{{- end -}}
{{- end -}}

{{- /* The names of the advertised resources, as JSON: those of the kinds, or the ones that KIND=RESOURCE gives. */ -}}
{{- define "nri-cdi.resourceNames" -}}
{{- $names := list -}}
{{- range .Values.advertise -}}
{{- $names = append $names (splitList "=" . | last) -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

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

{{- /* What both halves must agree on. Variables, not flags: so a command that is run in the container (nri-cdi status) has the same. */ -}}
{{- define "nri-cdi.env" -}}
{{- $dirs := list -}}
{{- range .Values.cdi.specDirs -}}
{{- $dirs = append $dirs (printf "%s%s" (.mountParent | default false | ternary "/host" "") .path) -}}
{{- end -}}
{{- if .Values.settings }}
- name: NRI_CDI_CONFIG
  value: /etc/nri-cdi/settings.yaml
{{- end }}
- name: NRI_CDI_CDI_DIR
  value: {{ join "," $dirs }}
- name: NRI_CDI_NRI_SOCKET
  value: {{ .Values.nri.socketDir }}/nri.sock
- name: NRI_CDI_KUBELET_DIR
  value: {{ .Values.kubelet.dir }}
- name: NRI_CDI_ANNOTATION_PREFIX
  value: {{ .Values.cdi.annotationPrefix }}
- name: NRI_CDI_HOST_ROOT
  value: /host
- name: NRI_CDI_LOG_LEVEL
  value: {{ .Values.log.level }}
- name: NRI_CDI_LOG_FORMAT
  value: {{ .Values.log.format }}
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

{{- /* The node's directories that are looked into, as JSON: each once, whoever asks for it. */ -}}
{{- define "nri-cdi.directories" -}}
{{- $all := list -}}
{{- range $number, $_ := .Values.cdi.specDirs -}}
{{- $name := printf "cdi-%d" $number -}}
{{- if .mountParent -}}
{{- $all = append $all (dict "name" $name "path" (dir .path) "mountPath" (printf "/host%s" (dir .path)) "type" "Directory") -}}
{{- else -}}
{{- $all = append $all (dict "name" $name "path" .path "mountPath" .path "type" "DirectoryOrCreate") -}}
{{- end -}}
{{- end -}}
{{- range $number, $path := .Values.hostPaths -}}
{{- $all = append $all (dict "name" (printf "host-%d" $number) "path" $path "mountPath" (printf "/host%s" $path) "type" "Directory") -}}
{{- end -}}
{{- $once := list -}}
{{- $mounted := dict -}}
{{- range $all -}}
{{- if not (hasKey $mounted .mountPath) -}}
{{- $once = append $once . -}}
{{- $_ := set $mounted .mountPath true -}}
{{- end -}}
{{- end -}}
{{- toJson $once -}}
{{- end -}}

{{- define "nri-cdi.directoryMounts" -}}
{{- range include "nri-cdi.directories" . | fromJsonArray }}
- name: {{ .name }}
  mountPath: {{ .mountPath }}
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

{{- /* What the schema cannot say in words. */ -}}
{{- define "nri-cdi.check" -}}
{{- $kinds := dict -}}
{{- $resources := dict -}}
{{- range .Values.advertise -}}
{{- $kind := splitList "=" . | first -}}
{{- $name := splitList "=" . | last -}}
{{- if or (not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$" $name)) (gt (splitList "/" $name | first | len) 244) (gt (splitList "/" $name | last | len) 63) -}}
{{- fail (printf "advertise: %s cannot be a Kubernetes resource: that has a lower-case DNS name of at most 244 bytes, a slash, and at most 63 letters, digits, '-', '_' and '.'; %s=RESOURCE gives it another name, such as %s=vendor.com/gpu" $name $kind $kind) -}}
{{- end -}}
{{- if or (contains "kubernetes.io/" $name) (hasPrefix "requests." $name) -}}
{{- fail (printf "advertise: %s cannot be a Kubernetes resource: names under kubernetes.io/, and those that begin with 'requests.', are Kubernetes' own; %s=RESOURCE gives it another name" $name $kind) -}}
{{- end -}}
{{- if or (hasKey $kinds $kind) (hasKey $resources $name) -}}
{{- fail (printf "advertise: %s is there twice, as a kind or as a resource: keep one of them" .) -}}
{{- end -}}
{{- $_ := set $kinds $kind true -}}
{{- $_ := set $resources $name true -}}
{{- end -}}
{{- range $label, $_ := .Values.podLabels -}}
{{- if hasKey (include "nri-cdi.labels" $ | fromYaml) $label -}}
{{- fail (printf "podLabels: %s is the chart's own label; leave it out" $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}

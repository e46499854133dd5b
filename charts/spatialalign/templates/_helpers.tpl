{{/* name and fullname: the prefix of everything that the chart creates. */}}
{{- define "spatialalign.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "spatialalign.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "spatialalign.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "spatialalign.labels" -}}
app.kubernetes.io/name: {{ include "spatialalign.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: spatialalign
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* operatorLabels select the operator's pods. */}}
{{- define "spatialalign.operatorLabels" -}}
app.kubernetes.io/name: {{ include "spatialalign.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "spatialalign.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (printf "%s-operator" (include "spatialalign.fullname" .)) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name must be set where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* image of a dict with repository, tag and digest. */}}
{{- define "spatialalign.image" -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}

{{/* namespacedRules are the operator's rights in the namespaces that it watches. */}}
{{- define "spatialalign.namespacedRules" -}}
- apiGroups: [alignment.spatialalign.dev]
  resources: [alignmentruns, alignmentapprovals]
  verbs: [get, list, watch]
# For runs that ask to be deleted when they have ended (ttlTarget: Run).
- apiGroups: [alignment.spatialalign.dev]
  resources: [alignmentruns]
  verbs: [delete]
- apiGroups: [alignment.spatialalign.dev]
  resources: [scoringbatches, preferencedatasets]
  verbs: [get, list, watch, create, delete]
- apiGroups: [alignment.spatialalign.dev]
  resources: [alignmentruns/status, scoringbatches/status, preferencedatasets/status]
  verbs: [update]
# Children block the deletion of their owner, which Kubernetes allows only to who may update the owner's finalizers.
- apiGroups: [alignment.spatialalign.dev]
  resources: [alignmentruns/finalizers, scoringbatches/finalizers, preferencedatasets/finalizers]
  verbs: [update]
# Patched is a Job's parallelism alone, by what quotas leave.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [resourcequotas, limitranges]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# Why a queued Job waits, where Kueue is installed: from its Workloads. A run that reserves as a whole has one of its own, and
# gives back what Kueue takes.
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [get, list, watch, create, delete]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads/status]
  verbs: [update]
# Whether one named default takes in what names no queue.
- apiGroups: [kueue.x-k8s.io]
  resources: [localqueues]
  verbs: [get]
# By these the pods of a training on several nodes find each other. They go with their Job.
- apiGroups: [""]
  resources: [services]
  verbs: [get, create]
# Whether the prompts that a run names are there; read once, before the run is accepted.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get]
# Whether the namespace is being deleted: pods of its Jobs can then keep it from going.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* clusterRules are those on what has no namespace. */}}
{{- define "spatialalign.clusterRules" -}}
- apiGroups: [alignment.spatialalign.dev]
  resources: [alignmentruntimes]
  verbs: [get, list, watch]
# For reservations of whole runs: where their pods go, and how urgent they are.
- apiGroups: [kueue.x-k8s.io]
  resources: [resourceflavors, workloadpriorityclasses]
  verbs: [get]
# Who asks for the metrics, and whether they may.
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end -}}

// The process that holds a pod's namespaces open.
module github.com/spatialalign/operator/hack/localcluster/pause

go 1.26.0

// The CRDs of the homelab's operators, as their modules carry them. Nothing is built here; go.sum pins what is read.
module invoicetron/rehearsal/toolchain/crds

go 1.26.0

require (
	github.com/cilium/cilium v1.20.2
	github.com/longhorn/longhorn-manager v1.10.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.6.3
)

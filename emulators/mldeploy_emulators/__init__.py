"""Local stand-ins for the clouds. The first one, a Kubernetes cluster, comes with the AKS target."""

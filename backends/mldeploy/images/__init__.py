"""What a package becomes for a container: layers that are made without a Docker build, and images of them."""

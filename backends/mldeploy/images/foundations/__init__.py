"""What an image stands on: the base image, images of the user's, and the Python in them."""

"""Image operations with one magnitude each, on uint8 pixels at the model's size: what may have happened to a camera."""

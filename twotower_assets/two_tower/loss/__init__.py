"""The sampled softmax: corrections, masks, loss and gradients of a batch."""

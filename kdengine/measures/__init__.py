"""What predictions are worth: metrics, whole evaluations of a network, and how sure one may be of either."""

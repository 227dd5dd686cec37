"""The engine: an Estimator chooses a backend, runs chunks of draws on threads, and finishes the moments."""

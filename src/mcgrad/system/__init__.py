"""The process and the machine it runs on: processors, quotas, locks, files written as a whole, packages to install."""

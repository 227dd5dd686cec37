"""The process and the machine that it runs on: processors, quotas, locks, atomic writes, packages to install."""

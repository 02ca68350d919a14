"""The typed schema of conf/, and all use of OmegaConf."""

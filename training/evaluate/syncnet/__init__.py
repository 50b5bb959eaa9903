"""SyncNet: the definition of Sync-C and Sync-D, the published network, and our small one."""

"""SSH, as strict as OpenSSH: the only importer of Fabric and Paramiko connections."""

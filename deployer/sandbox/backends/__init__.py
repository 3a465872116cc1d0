"""How hosts are run on this machine: with systemd-nspawn or with Docker, and the images they boot from."""

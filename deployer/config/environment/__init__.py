"""The variables that this machine has for the app: of the dotenv file, and of the command that asks a vault."""

"""What the tests share: projects to deploy, and a slow network."""

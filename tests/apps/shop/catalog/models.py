from django.db import models


class Visit(models.Model):
    at = models.DateTimeField(auto_now_add=True)
    release = models.CharField(max_length=40, blank=True)

    def __str__(self) -> str:
        return f"{self.at:%F %T} {self.release}"

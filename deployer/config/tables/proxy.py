"""``[proxy]``: the site in front of the app."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from deployer.config import check
from deployer.config.check import Invalid
from deployer.config.declare import key
from deployer.wire.reader import MOST_ITEMS
from deployer.wire.site import (
    ACME_DIRECTORY,
    BODY_SIZE,
    DOMAIN,
    EMAIL,
    HOST_FILE,
    HSTS,
    MOST_DOMAINS,
    PATH_LENGTH,
    TIMEOUT,
    Acme,
    ProxySite,
    caddy_problem,
)

HostFile = Annotated[str, Meta(pattern=f"^{HOST_FILE.pattern}", max_length=PATH_LENGTH)]


def _stripped(table: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((prefix, directory.rstrip("/")) for prefix, directory in sorted(table.items()))


# fmt: off
class TlsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """HTTPS. `tls = "auto"` is short for `tls = { mode = "auto" }`."""

    mode: Annotated[Literal["auto", "front", "off"] | None, key(
        'Where HTTPS comes from. "auto": certificates are got from an authority, and renewed. "front": what stands in '
        'front of the site ends TLS. "off": plain HTTP. Left out: "front" with `trusted`, else "auto" with `domains`, '
        'else "off".',
        '"auto", "front" or "off"')] = None
    certificate: Annotated[HostFile | None, key(
        "A certificate of your own, with its chain: a PEM file on the host.",
        'the path of a file on the host such as "/etc/ssl/shop/fullchain.pem"')] = None
    key: Annotated[HostFile | None, key(
        "Its private key, on the host.",
        'the path of a file on the host such as "/etc/ssl/shop/key.pem"')] = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            raise Invalid(missing, "is missing: a certificate and its private key belong together")
        if self.certificate is not None and self.mode is not None:
            raise Invalid("mode", "has no meaning beside a certificate of your own")


class AcmeConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which authority makes the certificates. Left out: Let's Encrypt."""

    directory: Annotated[Annotated[str, Meta(pattern=f"^{ACME_DIRECTORY.pattern}", max_length=PATH_LENGTH)] | None, key(
        "The ACME directory of another authority, such as one of your own network.",
        'a URL such as "https://ca.example.com/acme/directory"')] = None
    ca: Annotated[HostFile | None, key(
        "The root certificate by which that directory is trusted, where the host does not trust it anyway.",
        'the path of a file on the host such as "/etc/ssl/our-ca.pem"')] = None
    email: Annotated[Annotated[str, Meta(pattern=f"^{EMAIL.pattern}")] | None, key(
        "The address that the authority may write to.", 'an address such as "ada@example.com"')] = None


class ProxyConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The site in front of the app, written by `fab setup`. Left out: a proxy of your own."""

    kind: Annotated[Literal["auto", "caddy", "nginx", "none"] | None, key(
        'Which proxy. "auto": the one that the host has, else Caddy, else (Debian 11 has no Caddy) nginx. "none": '
        'setup writes no site. Left out: "auto" with any other key of this table.',
        '"auto", "caddy", "nginx" or "none"')] = None
    domains: Annotated[tuple[Annotated[str, Meta(pattern=f"^{DOMAIN.pattern}")], ...], key(
        "The names that the site answers to, which makes it an HTTPS site (see `tls`). Left out: any name, over plain "
        "HTTP.",
        'a name such as "shop.example.com", or a list of them', max_length=MOST_DOMAINS)] = ()
    redirect: Annotated[bool, key(
        "Whether the other domains lead to the first one.", "true or false")] = False
    tls: Annotated[TlsConfig, key(
        TlsConfig.__doc__ or "", 'a table, or "auto", "front" or "off"')] = field(default_factory=TlsConfig)
    acme: Annotated[AcmeConfig, key(AcmeConfig.__doc__ or "", "a table")] = field(default_factory=AcmeConfig)
    hsts: Annotated[Annotated[str, Meta(pattern=f"^{HSTS.pattern}")] | None, key(
        "Sent as Strict-Transport-Security where the app sends none: browsers then refuse plain HTTP for that many "
        "seconds, and nothing takes it back. Begin with a short time.",
        'a value such as "max-age=3600" or "max-age=31536000; includeSubDomains"')] = None
    listen: Annotated[tuple[str, ...], key(
        "Where the site speaks plain HTTP. A port alone stands for all addresses of the host, IPv4 and IPv6.",
        'a port such as 80, an address and a port such as "[::]:80", or a list of them',
        min_length=1, max_length=MOST_ITEMS)] = ("80",)
    listen_tls: Annotated[tuple[str, ...], key(
        "Where the site speaks HTTPS. Left out: port 443 at the addresses of `listen`.",
        'a port such as 443, an address and a port such as "[::]:443", or a list of them',
        max_length=MOST_ITEMS)] = ()
    static: Annotated[dict[str, str], key(
        'URL prefixes that the proxy serves from a directory of the code tree, for example `"/static/" = '
        '"staticfiles"`.',
        'a table of URL prefixes and directories, such as {"/static/" = "staticfiles"}')] = {}
    media: Annotated[dict[str, str], key(
        "URL prefixes that the proxy serves from a directory that the app writes, below `/var/lib/APP`: uploads of "
        "users, for example `\"/media/\" = \"media\"`. They are kept across releases.",
        'a table of URL prefixes and directories, such as {"/media/" = "media"}')] = {}
    client_max_body_size: Annotated[str, key(
        "The largest request body that is let through. 0: any.",
        'a size such as "10m"', pattern=f"^(?i:{BODY_SIZE.pattern})")] = "10m"
    timeout: Annotated[Annotated[float, Meta(ge=TIMEOUT[0], le=TIMEOUT[1])] | None, key(
        "After how many seconds in which the app says nothing a request is given up. Left out: 60, or 10 more than "
        "gunicorn's own `--timeout`; an hour for `asgi` and `command`, whose websockets and streams may be idle.",
        f"a number of seconds from {TIMEOUT[0]:g} to {TIMEOUT[1]:.0f}")] = None
    trusted: Annotated[tuple[str, ...], key(
        "The addresses of what stands in front of the site, such as a load balancer that ends TLS. Its X-Forwarded-For "
        "and X-Forwarded-Proto are believed; from anybody else they are overwritten.",
        'an address or a network such as "10.0.0.0/8", or a list of them', max_length=MOST_ITEMS)] = ()

    def __post_init__(self) -> None:
        check.listen("listen", self.listen)
        check.listen("listen_tls", self.listen_tls)
        check.networks("trusted", self.trusted)
        check.directories("static", self.static, below="of the project")
        check.directories("media", self.media, below="below /var/lib/APP, such as media")
        if not self.chosen:
            return
        site = self.site()
        problem = site.problem() or (caddy_problem(site) if self.kind == "caddy" else None)
        if problem:
            raise Invalid(*problem)

    @property
    def chosen(self) -> str:
        """Which proxy setup writes a site for: empty for none."""
        asks = (
            self.domains or self.redirect or self.hsts or self.listen != ("80",) or self.listen_tls or self.static
            or self.media or self.trusted or self.timeout or self.tls != TlsConfig() or self.acme != AcmeConfig()
        )
        kind = self.kind or ("auto" if asks else "none")
        return "" if kind == "none" else kind

    @property
    def mode(self) -> str:
        """Where HTTPS comes from, as the contract names it."""
        if self.tls.certificate:
            return "files"
        return self.tls.mode or ("front" if self.trusted else "auto" if self.domains else "off")

    def site(self, timeout: float = 60.0) -> ProxySite:
        """The site as the host is told it; ``timeout`` where none is set."""
        acme = self.acme
        return ProxySite(
            domains=tuple(name.lower() for name in self.domains),
            listen=self.listen,
            client_max_body_size=self.client_max_body_size.lower(),
            static=_stripped(self.static),
            media=_stripped(self.media),
            trusted=self.trusted,
            redirect=self.redirect,
            tls=self.mode,
            listen_tls=self.listen_tls,
            certificate=self.tls.certificate or "",
            key=self.tls.key or "",
            acme=Acme(directory=acme.directory or "", ca=acme.ca or "", email=acme.email or ""),
            hsts=self.hsts or "",
            timeout=self.timeout or timeout,
        )
# fmt: on

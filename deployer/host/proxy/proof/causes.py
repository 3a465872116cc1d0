"""What a visit shows to be wrong: findings of ``fab doctor``, and what ``fab setup`` and deploys warn of."""

from __future__ import annotations

from deployer.wire.advice import do, run
from deployer.wire.cause import Cause

_AS_ROOT = "on the host, as root: "
_SETUP = "fab setup -H root@HOST"

REFUSED = Cause(
    "certificate-refused",
    "a browser that knows the authorities of this host and the site's own would not accept the certificate",
    "browsers refuse the certificate of {name}: {why}",
    do(_AS_ROOT + "openssl s_client -connect {host} -servername {name}"),
)
SILENT = Cause(
    "proxy-silent",
    "no connection to an address of the site, or no answer on it",
    "nothing answers for {endpoint}: {why}",
    do(_AS_ROOT + "systemctl status {proxy}"),
)
_CUT_OFF = "answers 502 or 504, or by the app's site itself, and nothing arrives at the app's socket"
NGINX_CUT_OFF = Cause(
    "nginx-cannot-reach-app",
    f"nginx {_CUT_OFF}",
    "the proxy answers for {endpoint}, and cannot reach the app",
    do(_AS_ROOT + "tail /var/log/nginx/error.log   (why); permission denied: systemctl restart nginx"),
)
CADDY_CUT_OFF = Cause(
    "caddy-cannot-reach-app",
    f"Caddy {_CUT_OFF}",
    "the proxy answers for {endpoint}, and cannot reach the app",
    do(_AS_ROOT + "journalctl -u caddy -n 20   (why); permission denied: systemctl restart caddy"),
)
OTHER_SITE = Cause(
    "other-site-answers",
    "there is an answer for a name of the site, and nothing arrives at the app's socket",
    "another site answers for {endpoint} (it answered {answer})",
    do("set domains under [proxy] and fab setup; on the host, {shown} shows all sites"),
)
CREDULOUS = Cause(
    "proxy-believes-visitors",
    "an address that the visit makes up in `X-Forwarded-For` and the like arrives at the app",
    "the proxy believes what a visitor says of itself: {endpoint} passes on a made-up address",
    do("fab setup   (writes the site again); check [proxy] trusted"),
)
POOLS = Cause(
    "proxy-keeps-connections",
    "a request arrives at the app without `Connection: close`",
    "the proxy keeps its connections to the app ({endpoint}): after a switch they reach the old release",
    run("fab setup", "writes the site again"),
)
FOREIGN_SILENT = Cause(
    "own-site-silent",
    "nothing answers at an address of a site that setup did not write, and that leads to the app",
    "nothing answers for {endpoint}: {why}",
    do(_AS_ROOT + "systemctl status nginx caddy"),
)
FOREIGN_REFUSED = Cause(
    "own-site-certificate-refused",
    "a browser would not accept the certificate of such a site, and not for its issuer alone",
    "browsers refuse the certificate of {name}: {why}",
    do("renew it, or give the site one for that name"),
)
FOREIGN_CUT_OFF = Cause(
    "own-site-cannot-reach-app",
    "such a site answers 502 or 504 where the app answers something else",
    "the proxy answers for {endpoint}, and cannot reach the app",
    do("its own log on the host says why"),
)
FOREIGN_OTHER = Cause(
    "own-site-of-another",
    "such a site answers otherwise than the app, and neither with a redirect nor by keeping strangers out",
    "another site answers for {endpoint}: {answer} where the app answers {own}",
    do("nginx -T or caddy adapt on the host shows all sites"),
)
CAUSES = (
    REFUSED, SILENT, NGINX_CUT_OFF, CADDY_CUT_OFF, OTHER_SITE, CREDULOUS, POOLS, FOREIGN_SILENT, FOREIGN_REFUSED,
    FOREIGN_CUT_OFF, FOREIGN_OTHER,
)  # fmt: skip

_WRONG = "for a name of the site no certificate is served, or one of another name, or one that is over or about to be"
OWN_CERTIFICATE = Cause(
    "certificate-own",
    f"{_WRONG}; deploy.toml names its files",
    "{problem}",
    do("put a new one into {chain} and {key}, then on the host: systemctl reload {proxy}"),
)
CADDY_CERTIFICATE = Cause(
    "certificate-caddy",
    f"{_WRONG}; Caddy gets it",
    "{problem}",
    do(_AS_ROOT + "journalctl -u caddy   (why it could get none; it goes on trying)"),
)
CERTBOT_CERTIFICATE = Cause(
    "certificate-certbot",
    f"{_WRONG}; certbot gets it, for nginx",
    "{problem}",
    do(_SETUP + "   (tries again); " + _AS_ROOT + "certbot renew   (says why not)"),
)
NOT_LOADED = Cause(
    "certificate-not-loaded",
    "the proxy serves a certificate with another serial number than the one on the disk",
    "another certificate is served for {name} than the one in {chain}",
    do(_AS_ROOT + "systemctl reload {proxy}"),
)
NOT_RENEWED = Cause(
    "certificate-timer-stopped",
    "no timer of certbot runs on a host whose nginx has certificates from it",
    "{timer} does not run: the certificate will not be renewed",
    do(_AS_ROOT + "systemctl enable --now {timer}"),
)
CERTIFICATES = (OWN_CERTIFICATE, CADDY_CERTIFICATE, CERTBOT_CERTIFICATE, NOT_LOADED, NOT_RENEWED)

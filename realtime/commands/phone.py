"""`realtime phone DIALECT --public-url wss://…`: prints what to enter at a carrier or PBX."""

from __future__ import annotations

import argparse
import sys

from realtime.config import Settings, naming, words
from realtime.errors import ConfigError
from realtime.transports.phone.access import PhoneConfig, check_public_url
from realtime.transports.phone.dialects import DIALECTS
from realtime.transports.phone.endpoint import PATH
from realtime.transports.phone.snippets import SNIPPETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dialect", nargs="?", metavar="DIALECT", help=f"one of {', '.join(DIALECTS)}")
    parser.add_argument("--list", action="store_true", help="list the dialects")
    parser.add_argument("--public-url", metavar="wss://HOST", help="where the carrier reaches this server")
    parser.add_argument(
        "--secret", default=None, help="secret for the path (default: the first of REALTIME_PHONE_SECRETS)"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.list:
        for dialect in DIALECTS.values():
            print(f"{dialect.name:<12} {dialect.title}")
        return 0
    if arguments.dialect not in DIALECTS:
        given = f"{arguments.dialect!r} is none" if arguments.dialect else "none is given"
        raise ConfigError(f"name a dialect ({given}): {', '.join(DIALECTS)}")
    settings = Settings.read(argparse.Namespace())
    url = arguments.public_url or settings.phone_public_url
    if not url:
        raise ConfigError("--public-url: give the address at which the carrier reaches this server: wss://HOST")
    with naming("public_url"):
        url = check_public_url(url)
    known = words(settings.phone_secrets)
    secret = arguments.secret if arguments.secret is not None else (known[0] if known else "")
    if secret:
        with naming("secret"):
            PhoneConfig(secrets=(secret,))
    where, snippet = SNIPPETS[arguments.dialect]
    print(snippet(f"{url}{PATH}/{arguments.dialect}{'/' + secret if secret else ''}"))
    print(f"This is {where}.", file=sys.stderr)
    if not secret:
        print("There is no secret in it: set REALTIME_PHONE_SECRETS for the server and for this.", file=sys.stderr)
    return 0

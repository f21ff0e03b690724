"""From the settings to the phone's configuration."""

from __future__ import annotations

from realtime.config import Settings, naming, words
from realtime.transports.phone.access import PhoneConfig


def read_phone_config(settings: Settings) -> PhoneConfig:
    """Who may open phone calls, and what they may set. Raises `ConfigError`."""
    parameters, secrets = tuple(words(settings.phone_parameters)), tuple(words(settings.phone_secrets))
    with naming("phone_parameters"):
        PhoneConfig(parameters=parameters)
    with naming("phone_public_url"):
        PhoneConfig(public_url=settings.phone_public_url)
    with naming("phone_secrets"):
        return PhoneConfig(
            secrets, settings.phone_twilio_token, settings.phone_public_url, parameters, settings.phone_greeting
        )

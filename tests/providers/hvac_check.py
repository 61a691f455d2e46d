#!/usr/bin/env python3
"""Holds the stand-in to hvac, a client that others wrote for the real server: ADDRESS TOKEN."""
import base64, sys

import hvac

client = hvac.Client(url=sys.argv[1], token=sys.argv[2])
transit = client.secrets.transit
assert client.sys.read_health_status(method="GET")["sealed"] is False
assert client.is_authenticated() and not hvac.Client(url=sys.argv[1], token="wrong").is_authenticated()


def b64(text):
    return base64.b64encode(text.encode()).decode()


def refused(kind, call, **arguments):
    try:
        call(**arguments)
    except kind as error:
        return str(error)
    raise AssertionError(f"{call} was not refused")


transit.create_key(name="k")
read = transit.read_key(name="k")["data"]
assert (read["type"], read["derived"], read["latest_version"]) == ("aes256-gcm96", False, 1)
first = transit.encrypt_data(name="k", plaintext=b64("hello"), associated_data=b64("a"))["data"]["ciphertext"]
assert first.startswith("vault:v1:")
assert transit.decrypt_data(name="k", ciphertext=first, associated_data=b64("a"))["data"]["plaintext"] == b64("hello")
said = refused(hvac.exceptions.InvalidRequest, transit.decrypt_data, name="k", ciphertext=first, associated_data=b64("b"))
assert "message authentication failed" in said
transit.rotate_key(name="k")
second = transit.encrypt_data(name="k", plaintext=b64("x"))["data"]["ciphertext"]
assert second.startswith("vault:v2:")
assert transit.rewrap_data(name="k", ciphertext=second)["data"]["ciphertext"].startswith("vault:v2:")
transit.update_key_configuration(name="k", min_decryption_version=2)
said = refused(hvac.exceptions.InvalidRequest, transit.decrypt_data, name="k", ciphertext=first, associated_data=b64("a"))
assert "too old" in said
refused(hvac.exceptions.InvalidPath, transit.read_key, name="none")
transit.create_key(name="d", derived=True)
bound = transit.encrypt_data(name="d", plaintext=b64("y"), context=b64("c"))["data"]["ciphertext"]
assert transit.decrypt_data(name="d", ciphertext=bound, context=b64("c"))["data"]["plaintext"] == b64("y")
refused(hvac.exceptions.InvalidRequest, transit.decrypt_data, name="d", ciphertext=bound, context=b64("e"))
refused(hvac.exceptions.InvalidRequest, transit.delete_key, name="k")
transit.update_key_configuration(name="k", deletion_allowed=True)
transit.delete_key(name="k")
refused(hvac.exceptions.InvalidPath, transit.read_key, name="k")
print("hvac agrees")

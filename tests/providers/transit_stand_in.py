#!/usr/bin/env python3
"""A stand-in for the Transit engine of Vault or OpenBao, for tests. It is NOT that server: it answers the requests that
strongroom makes in the form that OpenBao's documentation and source show, and has faults on demand.

Listens on 127.0.0.1 with HTTPS (--tls-port) and HTTP (--port); writes ca.pem and token into --dir; prints `ready`.
Ends when stdin does, with --until-eof. Faults and clocks: POST /stand-in with the root token.
"""
import argparse, base64, datetime, http.server, ipaddress, json, os, ssl, sys, threading, time, uuid

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KINDS = {"aes256-gcm96": (32, AESGCM), "aes128-gcm96": (16, AESGCM), "chacha20-poly1305": (32, ChaCha20Poly1305)}


class Refusal(Exception):
    """An answer that is not success."""

    def __init__(self, status, *errors):
        self.status, self.errors = status, list(errors)


class Key:
    """A named key with its versions, counted from 1."""

    def __init__(self, kind, derived, convergent):
        self.kind, self.derived, self.convergent = kind, derived, convergent
        self.versions, self.oldest, self.deletable = [], 1, False
        self.rotate()

    def rotate(self):
        self.versions.append(os.urandom(KINDS.get(self.kind, (32, None))[0]))

    def describe(self, name):
        shown = {
            "name": name, "type": self.kind, "derived": self.derived, "latest_version": len(self.versions),
            "min_decryption_version": self.oldest, "min_encryption_version": 0, "deletion_allowed": self.deletable,
            "exportable": False, "supports_encryption": True, "supports_decryption": True,
            "keys": {str(at + 1): int(time.time()) for at in range(len(self.versions))},
        }
        if self.derived:
            shown |= {"kdf": "hkdf_sha256", "convergent_encryption": self.convergent}
        return shown

    def cipher(self, version, context):
        material = self.versions[version - 1]
        size, cipher = KINDS[self.kind]
        if self.derived:
            if not context:
                raise Refusal(400, "missing 'context' for key derivation; the key was created using a derived key, which"
                                   " means additional, per-request information must be included in order to perform"
                                   " operations with the key")
            material = HKDF(hashes.SHA256(), size, None, base64.b64decode(context)).derive(material)
        return cipher(material)


class Server:
    """What the engine remembers. One lock, taken for each request."""

    def __init__(self):
        self.lock, self.keys, self.requests = threading.Lock(), {}, []
        self.root = "root-" + uuid.uuid4().hex
        self.tokens = {self.root: {"ttl": 0, "until": None, "renewable": False}}
        self.sealed, self.ignores_associated_data, self.answers_with_version = False, False, None

    def token(self, token):
        known = self.tokens.get(token)
        if not known or (known["until"] and known["until"] < time.monotonic()):
            raise Refusal(403, "permission denied", "invalid token")
        return known

    def key(self, place, missing=Refusal(400, "encryption key not found")):
        if place not in self.keys:
            raise missing
        return self.keys[place]

    def control(self, body):
        for name in ("sealed", "ignores_associated_data", "answers_with_version"):
            if name in body:
                setattr(self, name, body[name])
        if "new_token" in body:
            token, ttl = "t-" + uuid.uuid4().hex, body["new_token"]
            self.tokens[token] = {"ttl": ttl, "until": time.monotonic() + ttl, "renewable": True}
            return {"token": token}
        if "revoke" in body:
            self.tokens.pop(body["revoke"], None)
        return {"requests": self.requests}

    def answer(self, method, path, namespace, token, body):
        if path == "stand-in":
            if token != self.root:
                raise Refusal(403, "permission denied")
            return self.control(body)
        if path == "v1/sys/health":
            return {"initialized": True, "sealed": self.sealed, "standby": False}
        if self.sealed:
            raise Refusal(503, "Vault is sealed")
        held = self.token(token)
        self.requests.append(f"{method} {path}")
        if path.startswith("v1/auth/token/"):
            return self.of_token(path.removeprefix("v1/auth/token/"), held)
        return self.of_key(method, path, namespace, body)

    def of_token(self, operation, held):
        left = max(0, int(held["until"] - time.monotonic())) if held["until"] else 0
        if operation == "lookup-self":
            return {"data": {"ttl": left, "renewable": held["renewable"], "policies": ["transit"]}}
        if operation == "renew-self" and held["renewable"]:
            held["until"] = time.monotonic() + held["ttl"]
            return {"auth": {"lease_duration": held["ttl"], "renewable": True}}
        raise Refusal(400, "lease is not renewable")

    def of_key(self, method, path, namespace, body):
        parts = path.removeprefix("v1/").split("/")
        at = next((i for i, part in enumerate(parts) if part in ("keys", "encrypt", "decrypt", "rewrap")), None)
        if not at or len(parts) < at + 2:
            raise Refusal(404)
        operation, name, action = parts[at], parts[at + 1], "/".join(parts[at + 2:])
        place = (namespace, "/".join(parts[:at]), name)
        if operation == "keys":
            return self.manage(method, place, action, body)
        return {"data": getattr(self, operation)(place, body)}

    def manage(self, method, place, action, body):
        if method == "POST" and not action:
            kind = body.get("type", "aes256-gcm96")
            new = Key(kind, body.get("derived", False), body.get("convergent_encryption", False))
            return {"data": self.keys.setdefault(place, new).describe(place[2])}
        key = self.key(place, Refusal(404))
        if method == "GET":
            return {"data": key.describe(place[2])}
        if method == "DELETE":
            if not key.deletable:
                raise Refusal(400, "error deleting policy: deletion is not allowed for this key")
            del self.keys[place]
        elif action == "rotate":
            key.rotate()
        elif action == "config":
            key.oldest = body.get("min_decryption_version", key.oldest)
            key.deletable = body.get("deletion_allowed", key.deletable)
        else:
            raise Refusal(404)
        return None

    def encrypt(self, place, body):
        # As the server does where the token may create keys: a missing key is made.
        key = self.keys.setdefault(place, Key("aes256-gcm96", bool(body.get("context")), False))
        version, nonce = len(key.versions), os.urandom(12)
        cipher = key.cipher(version, body.get("context"))
        sealed = nonce + cipher.encrypt(nonce, base64.b64decode(body["plaintext"]), self.associated(body))
        shown = self.answers_with_version or version
        return {"ciphertext": f"vault:v{shown}:" + base64.b64encode(sealed).decode(), "key_version": shown}

    def decrypt(self, place, body):
        key = self.key(place)
        try:
            vault, version, text = body.get("ciphertext", "").split(":")
            version, sealed = int(version.removeprefix("v")), base64.b64decode(text, validate=True)
        except ValueError:
            raise Refusal(400, "invalid ciphertext: no prefix")
        if vault != "vault" or not 1 <= version <= len(key.versions):
            raise Refusal(400, "invalid ciphertext: version is too new")
        if version < key.oldest:
            raise Refusal(400, "ciphertext or signature version is disallowed by policy (too old)")
        try:
            plain = key.cipher(version, body.get("context")).decrypt(sealed[:12], sealed[12:], self.associated(body))
        except (InvalidTag, ValueError):
            raise Refusal(400, "cipher: message authentication failed")
        return {"plaintext": base64.b64encode(plain).decode()}

    def rewrap(self, place, body):
        # It takes no associated data: what was bound by it cannot be rewrapped.
        plain = self.decrypt(place, {k: v for k, v in body.items() if k != "associated_data"})
        return self.encrypt(place, {"plaintext": plain["plaintext"], "context": body.get("context")})

    def associated(self, body):
        given = base64.b64decode(body.get("associated_data") or "")
        return None if self.ignores_associated_data else given


class Handler(http.server.BaseHTTPRequestHandler):
    """HTTP around the server."""

    protocol_version = "HTTP/1.1"

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        try:
            body = json.loads(self.rfile.read(length) or b"{}") if length else {}
            token, namespace = self.headers.get("X-Vault-Token"), self.headers.get("X-Vault-Namespace", "")
            with self.server.state.lock:
                path = self.path.split("?")[0].strip("/")
                answer = self.server.state.answer(self.command, path, namespace.strip("/"), token, body)
            status = 200 if answer is not None else 204
        except Refusal as refusal:
            status, answer = refusal.status, {"errors": refusal.errors}
        except (KeyError, ValueError) as error:
            status, answer = 400, {"errors": [f"failed to parse: {error!r}"]}
        content = json.dumps(answer).encode() if answer is not None else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def log_message(self, *_):
        pass


def certificates(directory):
    """A CA and a certificate for 127.0.0.1 and localhost; returns the file with the latter and its key."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(name, key, issuer, issuer_key, extensions):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=30)))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key or key, hashes.SHA256())

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = certificate("stand-in CA", authority_key, None, None, [(x509.BasicConstraints(True, None), True)])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    leaf = certificate("localhost", key, authority.subject, authority_key,
                       [(x509.BasicConstraints(False, None), True), (names, False), (usage, False)])
    pem = serialization.Encoding.PEM
    write(directory, "ca.pem", authority.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return write(directory, "server.pem", leaf.public_bytes(pem) + private)


def write(directory, name, content):
    path = os.path.join(directory, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    return path


def serve(state, port, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads, server.state = True, state
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls-port", type=int, default=0)
    parser.add_argument("--until-eof", action="store_true")
    options = parser.parse_args()
    os.makedirs(options.dir, mode=0o700, exist_ok=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates(options.dir))
    state = Server()
    for name in ("root", "token"):
        write(options.dir, name, state.root.encode())
    plain, tls = serve(state, options.port), serve(state, options.tls_port, context)
    print(f"ready http://127.0.0.1:{plain} https://127.0.0.1:{tls} {options.dir}", flush=True)
    if options.until_eof:
        sys.stdin.read()
    else:
        threading.Event().wait()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Twilio's side of a voice webhook, signed by the official `twilio` package.

  twilio_webhook.py --post URL --as PUBLIC_URL --token TOKEN [--break] NAME=VALUE …

Posts the form to URL as if Twilio had called PUBLIC_URL, and prints one JSON line:
{"status": …, "type": …, "body": …, "sip": [the <Dial><Sip> URIs of the TwiML]}.
"""
import argparse, json, sys, urllib.error, urllib.parse, urllib.request
from xml.etree import ElementTree

from twilio.request_validator import RequestValidator

parser = argparse.ArgumentParser()
parser.add_argument("--post", required=True)
parser.add_argument("--as", dest="public", required=True)
parser.add_argument("--token", required=True)
parser.add_argument("--break", dest="broken", action="store_true")
parser.add_argument("fields", nargs="*")
args = parser.parse_args()

form = dict(field.split("=", 1) for field in args.fields)
validator = RequestValidator(args.token)
signature = validator.compute_signature(args.public, form)
assert validator.validate(args.public, form, signature)
if args.broken:
    signature = signature[::-1]
request = urllib.request.Request(args.post, data=urllib.parse.urlencode(form).encode(), method="POST")
request.add_header("Content-Type", "application/x-www-form-urlencoded")
request.add_header("X-Twilio-Signature", signature)
try:
    with urllib.request.urlopen(request, timeout=10) as reply:
        status, kind, body = reply.status, reply.headers.get("Content-Type"), reply.read().decode()
except urllib.error.HTTPError as error:
    status, kind, body = error.code, error.headers.get("Content-Type"), error.read().decode()
sip = []
if status == 200 and body.strip().startswith("<"):
    root = ElementTree.fromstring(body)
    assert root.tag == "Response", body
    sip = [s.text.strip() for s in root.findall("./Dial/Sip")]
json.dump({"status": status, "type": kind, "body": body, "sip": sip}, sys.stdout)

//! The API over a real listener, with a real registry, store and journal.

use super::*;
use crate::config::JournalConfig;
use crate::plugins::tests::{router, version};
use axum::http::StatusCode;
use b2bua::call_info::{Attestation, CallInfo, Direction, Endpoint, Transport};
use b2bua::journal::{CallEvent, Kind};
use b2bua::key::CallKey;
use plugin_host::{Compile, PluginHostConfig};
use serde_json::{Value, json};
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn health_and_readiness_need_no_token() {
    let world = World::new(ONE).await;
    for path in [
        "/", "/info", "/health", "/healthz", "/ready", "/metrics", "/health/",
    ] {
        assert_eq!(world.anonymous("GET", path).await.status, 200, "{path}");
    }
    let text = world.anonymous("GET", "/metrics").await.text();
    assert!(
        text.contains("# TYPE gatepost_calls_active gauge"),
        "{text}"
    );
    let reply = world
        .ask("GET", "/metrics", &[("accept", "application/json")], b"")
        .await;
    assert!(reply.json()["total_calls"].is_number());
    world.server.drain();
    assert_eq!(world.anonymous("GET", "/ready").await.status, 503);
}

#[tokio::test]
async fn everything_under_api_needs_a_valid_token() {
    let world = World::new(ONE).await;
    for path in [
        "/api/plugins",
        "/api/nothing",
        "/api/plugins/x?access_token=secret-admin-token",
    ] {
        let reply = world.anonymous("GET", path).await;
        assert_eq!(reply.status, 401, "{path}");
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    for token in [
        "Bearer wrong",
        "Bearer ",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer a.b",
        ADMIN,
        "Bearer",
    ] {
        assert_eq!(
            world
                .ask("GET", "/api/plugins", &[("authorization", token)], b"")
                .await
                .status,
            401,
            "{token}"
        );
    }
    assert_eq!(world.admin("GET", "/api/plugins", b"").await.status, 200);
    assert_eq!(
        world.admin("GET", "/api/plugins/", b"").await.status,
        200,
        "a slash at the end changes nothing"
    );
}

#[tokio::test]
async fn errors_are_problems_with_the_callers_correlation_id() {
    let world = World::new(ONE).await;
    let headers = [("authorization", BEARER), ("x-correlation-id", "abc-1")];
    for (method, path, status, code) in [
        ("GET", "/api/nothing", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
        ("PATCH", "/api/plugins", 405, "method_not_allowed"),
        ("GET", "/api/plugins?page=0", 422, "invalid"),
        ("GET", "/api/calls/zz", 404, "not_found"),
        ("GET", "/api/calls/%ff", 400, "bad_request"),
    ] {
        let reply = world.ask(method, path, &headers, b"").await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        let problem = reply.json();
        assert_eq!(
            (problem["code"].as_str(), problem["status"].as_u64()),
            (Some(code), Some(status.into())),
            "{problem}"
        );
        assert_eq!(problem["correlation_id"], "abc-1");
        assert_eq!(reply.header("x-correlation-id"), Some("abc-1"));
    }
    let reply = world.admin("POST", "/api/plugins", b"{\"name\":").await;
    assert_eq!(
        (reply.status, reply.json()["code"].as_str()),
        (400, Some("invalid_json"))
    );
    let reply = world.admin("POST", "/api/plugins", b"{\"name\":5}").await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    let headers = [("authorization", BEARER), ("content-encoding", "gzip")];
    assert_eq!(
        world
            .ask("POST", "/api/plugins", &headers, b"\x1f\x8b")
            .await
            .status,
        415
    );
}

#[tokio::test]
async fn a_version_is_uploaded_activated_and_rolled_back() {
    let world = World::new(ONE).await;
    let made = world
        .admin(
            "POST",
            "/api/plugins",
            b"{\"name\":\"router\",\"bind\":{\"default\":true}}",
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.header("location"), Some("/api/plugins/router"));
    assert_eq!(
        world
            .admin("POST", "/api/plugins", b"{\"name\":\"router\"}")
            .await
            .status,
        409
    );

    let first = world
        .wasm("POST", "/api/plugins/router/versions", &router())
        .await;
    assert_eq!(first.status, 201, "{}", first.text());
    let one = first.json();
    assert_eq!(one["kinds"], json!(["router"]));
    assert_eq!(one["active"], false, "it waits");
    assert!(
        one["world"].as_str().unwrap().contains("router-plugin@0.1"),
        "{one}"
    );
    let one = one["digest"].as_str().unwrap().to_owned();
    assert_eq!(
        world.json("GET", "/api/plugins/router").await["active"],
        Value::Null
    );

    let activate = json!({ "version": &one[..12] }).to_string();
    let reply = world
        .admin("POST", "/api/plugins/router/activate", activate.as_bytes())
        .await;
    assert_eq!(
        (reply.status, reply.json()["active"].as_str()),
        (200, Some(one.as_str()))
    );

    let two = world.wasm("PUT", "/api/plugins/router", &version(2)).await;
    assert_eq!(two.status, 200, "{}", two.text());
    let two = two.json()["digest"].as_str().unwrap().to_owned();
    let page = world.json("GET", "/api/plugins/router").await;
    assert_eq!(page["active"], two.as_str());
    assert_eq!(
        page["settings"]["bind"]["default"], true,
        "its settings stay"
    );
    assert_eq!(
        world.json("GET", "/api/plugins/router/versions").await["total"],
        2
    );

    let back = world
        .admin("POST", "/api/plugins/router/rollback", b"")
        .await;
    assert_eq!(
        (back.status, back.json()["active"].as_str()),
        (200, Some(one.as_str()))
    );
    assert_eq!(
        world
            .admin("POST", "/api/plugins/router/rollback", b"")
            .await
            .status,
        409,
        "nothing before the first"
    );
    let reply = world
        .admin(
            "POST",
            "/api/plugins/router/activate",
            b"{\"version\":\"00000000\"}",
        )
        .await;
    assert_eq!(reply.status, 404);

    let wasm = world
        .admin(
            "GET",
            &format!("/api/plugins/router/versions/{two}/wasm"),
            b"",
        )
        .await;
    assert_eq!((wasm.status, wasm.body), (200, version(2)));
    let report = world
        .json("GET", &format!("/api/plugins/router/versions/{two}/report"))
        .await;
    assert_eq!(report["digest"], two.as_str());
    assert_eq!(
        world
            .admin(
                "DELETE",
                &format!("/api/plugins/router/versions/{one}"),
                b""
            )
            .await
            .status,
        409,
        "it is active"
    );
    assert_eq!(
        world
            .admin(
                "DELETE",
                &format!("/api/plugins/router/versions/{two}"),
                b""
            )
            .await
            .status,
        204
    );
    assert_eq!(
        world
            .admin("DELETE", "/api/plugins/router", b"")
            .await
            .status,
        204
    );
    assert_eq!(
        world.admin("GET", "/api/plugins/router", b"").await.status,
        404
    );
    let log = world.json("GET", "/api/admin/audit").await;
    assert_eq!(log["items"][0]["action"], "plugin.delete", "{log}");
}

#[tokio::test]
async fn a_broken_upload_is_refused_in_words_and_the_live_version_stays() {
    let world = World::new(ONE).await;
    assert_eq!(
        world
            .wasm("PUT", "/api/plugins/router", &router())
            .await
            .status,
        201
    );
    let active = world.json("GET", "/api/plugins/router").await["active"].clone();
    for (bytes, says) in [
        (&b""[..], "empty"),
        (b"#!/bin/sh\n", "not a WebAssembly component"),
        (b"<html>404</html>", "web page"),
        (b"\0asm\x0d\0\x01\0", "exports none"),
        (&router()[..1000], "validate"),
    ] {
        let reply = world.wasm("PUT", "/api/plugins/router", bytes).await;
        let problem = reply.json();
        assert_eq!(
            (reply.status, problem["code"].as_str()),
            (422, Some("plugin_refused")),
            "{problem}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{problem}"
        );
    }
    let page = world.json("GET", "/api/plugins/router/report").await;
    assert_eq!(page["active"], active);
    assert!(
        page["last_error"]["error"]
            .as_str()
            .unwrap()
            .contains("validate"),
        "{page}"
    );
    let large = vec![0; plugin_host::check::MAX_SIZE + 1];
    assert_eq!(
        world
            .wasm("PUT", "/api/plugins/router", &large)
            .await
            .status,
        413
    );
    let larger = vec![0; plugin_host::check::MAX_SIZE + (1 << 20)];
    assert_eq!(
        world
            .wasm("PUT", "/api/plugins/router", &larger)
            .await
            .status,
        413
    );
    assert_eq!(
        world
            .wasm("PUT", "/api/plugins/router", &router())
            .await
            .status,
        200
    );
    assert_eq!(
        world.json("GET", "/api/plugins/router").await["last_error"],
        Value::Null
    );
    for name in [
        "..%2f..%2fetc",
        "a%00b",
        "%2fetc%2fpasswd",
        "..",
        ".x",
        "a%20b",
    ] {
        let reply = world
            .wasm("PUT", &format!("/api/plugins/{name}"), &router())
            .await;
        assert!(
            (400..500).contains(&reply.status),
            "{name}: {}",
            reply.status
        );
    }
}

#[tokio::test]
async fn a_form_uploads_a_component_with_its_settings() {
    let world = World::new(ONE).await;
    let mut body = b"--xx\r\nContent-Disposition: form-data; name=\"settings\"\r\n\r\n{\"bind\":{\"numbers\":[\"+1*\"]}}\r\n--xx\r\nContent-Disposition: form-data; name=\"wasm\"; filename=\"r.wasm\"\r\n\r\n".to_vec();
    body.extend(router());
    body.extend(b"\r\n--xx--\r\n");
    let headers = [
        ("authorization", BEARER),
        ("content-type", "multipart/form-data; boundary=xx"),
    ];
    let reply = world
        .ask("PUT", "/api/plugins/router", &headers, &body)
        .await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(
        world.json("GET", "/api/bindings/router").await["match"]["numbers"],
        json!(["+1*"])
    );
    let headers = [("authorization", BEARER), ("content-type", "text/html")];
    assert_eq!(
        world
            .ask("PUT", "/api/plugins/router", &headers, &body)
            .await
            .status,
        415
    );
}

#[tokio::test]
async fn bindings_say_which_calls_a_plugin_gets() {
    let world = World::new(ONE).await;
    world.wasm("PUT", "/api/plugins/router", &router()).await;
    let post = |body: Value| world.admin_owned("POST", "/api/bindings", body.to_string());
    assert_eq!(
        post(json!({ "plugin": "nobody", "match": { "default": true } }))
            .await
            .status,
        404
    );
    assert_eq!(
        post(json!({ "plugin": "router" })).await.status,
        422,
        "for which calls?"
    );
    let made = post(json!({
        "plugin": "router", "match": { "default": true }, "priority": 7, "config": { "a": 1 },
        "on_failure": { "action": "fail_closed", "code": 503 },
    }))
    .await;
    assert_eq!(
        (made.status, made.header("location")),
        (201, Some("/api/bindings/router")),
        "{}",
        made.text()
    );
    assert_eq!(
        post(json!({ "plugin": "router", "match": { "default": true } }))
            .await
            .status,
        409
    );
    let list = world.json("GET", "/api/bindings").await;
    assert_eq!(
        (
            list["total"].as_u64(),
            list["items"][0]["priority"].as_u64()
        ),
        (Some(1), Some(7))
    );
    assert_eq!(
        world.json("GET", "/api/plugins/router/config").await,
        json!({ "a": 1 })
    );

    let body = json!({ "match": { "numbers": ["+44*"] } }).to_string();
    let put = world
        .admin("PUT", "/api/bindings/router", body.as_bytes())
        .await;
    assert_eq!(
        (put.status, &put.json()["match"]["default"]),
        (200, &json!(false)),
        "{}",
        put.text()
    );
    assert_eq!(
        put.json()["on_failure"]["code"],
        503,
        "what was not named stays"
    );
    for bad in [
        json!({ "match": { "numbers": ["4*4"] } }),
        json!({ "match": { "default": true }, "limits": { "deadline_ms": 0 } }),
        json!({ "matches": {} }),
    ] {
        let reply = world
            .admin("PUT", "/api/bindings/router", bad.to_string().as_bytes())
            .await;
        assert_eq!(reply.status, 422, "{bad}");
    }
    let patch = world
        .admin(
            "PATCH",
            "/api/plugins/router",
            b"{\"config\":{\"b\":2},\"on_failure\":null}",
        )
        .await;
    assert_eq!(
        (patch.status, &patch.json()["settings"]["config"]),
        (200, &json!({ "b": 2 }))
    );
    let grants = world
        .admin("PUT", "/api/plugins/router/grants", b"{\"allow\":[\"kv\"]}")
        .await;
    assert_eq!(
        (grants.status, grants.json()),
        (200, json!({ "allow": ["kv"] }))
    );
    assert_eq!(
        world
            .admin(
                "PUT",
                "/api/plugins/router/grants",
                b"{\"allow\":[\"everything\"]}"
            )
            .await
            .status,
        422
    );
    assert_eq!(
        world
            .admin("DELETE", "/api/bindings/router", b"")
            .await
            .status,
        204
    );
    assert_eq!(
        world
            .admin("DELETE", "/api/bindings/router", b"")
            .await
            .status,
        404
    );
    assert_eq!(
        world.admin("GET", "/api/plugins/router", b"").await.status,
        200,
        "the plugin stays"
    );
}

#[tokio::test]
async fn tokens_do_what_their_scopes_say_and_see_their_tenant_only() {
    let world = World::new(TWO).await;
    assert_eq!(
        world.admin("GET", "/api/plugins", b"").await.status,
        400,
        "which tenant?"
    );
    let a = [
        ("authorization", BEARER),
        ("x-tenant-id", "a"),
        ("content-type", "application/json"),
    ];
    let b = [
        ("authorization", BEARER),
        ("x-tenant-id", "b"),
        ("content-type", "application/json"),
    ];
    let nobody = [("authorization", BEARER), ("x-tenant-id", "nobody")];
    assert_eq!(
        world.ask("GET", "/api/plugins", &nobody, b"").await.status,
        404
    );
    let wasm = [
        ("authorization", BEARER),
        ("x-tenant-id", "a"),
        ("content-type", "application/wasm"),
    ];
    assert_eq!(
        world
            .ask("PUT", "/api/plugins/router", &wasm, &router())
            .await
            .status,
        201
    );

    let made = world
        .ask(
            "POST",
            "/api/keys",
            &a,
            b"{\"name\":\"ci\",\"scopes\":[\"read\",\"publish\"]}",
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let token = format!("Bearer {}", made.json()["token"].as_str().unwrap());
    let list = world.ask("GET", "/api/keys", &a, b"").await.json();
    assert_eq!(list["total"], 1);
    assert!(list["items"][0].get("token").is_none(), "shown once");
    assert_eq!(
        world.ask("GET", "/api/keys", &b, b"").await.json()["total"],
        0
    );
    assert_eq!(
        world
            .ask(
                "POST",
                "/api/keys",
                &a,
                b"{\"name\":\"x\",\"scopes\":[\"root\"]}"
            )
            .await
            .status,
        422
    );

    let own = [
        ("authorization", token.as_str()),
        ("content-type", "application/wasm"),
    ];
    assert_eq!(
        world
            .ask("GET", "/api/plugins/router", &own, b"")
            .await
            .status,
        200
    );
    assert_eq!(
        world
            .ask("POST", "/api/plugins/router/versions", &own, &version(1))
            .await
            .status,
        201
    );
    for (method, path) in [
        ("POST", "/api/plugins/router/activate"),
        ("PUT", "/api/plugins/router"),
        ("DELETE", "/api/plugins/router"),
        ("GET", "/api/keys"),
    ] {
        let reply = world.ask(method, path, &own, b"").await;
        assert_eq!(
            (reply.status, reply.json()["code"].as_str()),
            (403, Some("forbidden")),
            "{method} {path}"
        );
    }
    let foreign = [("authorization", token.as_str()), ("x-tenant-id", "b")];
    assert_eq!(
        world.ask("GET", "/api/plugins", &foreign, b"").await.status,
        404
    );
    assert_eq!(
        world
            .ask("GET", "/api/plugins/router", &b, b"")
            .await
            .status,
        404,
        "another tenant's plugin is not there"
    );

    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        world
            .ask("DELETE", &format!("/api/keys/{id}"), &b, b"")
            .await
            .status,
        404
    );
    assert_eq!(
        world
            .ask("DELETE", &format!("/api/keys/{id}"), &a, b"")
            .await
            .status,
        204
    );
    assert_eq!(
        world.ask("GET", "/api/plugins", &own, b"").await.status,
        401
    );
}

#[tokio::test]
async fn a_call_is_listed_explained_and_hung_up_by_its_tenant_only() {
    let mut world = World::new(TWO).await;
    let call = CallKey::new(0, 1, 5);
    for event in [
        arrived(0),
        line(
            1,
            Kind::Admitted {
                tenant: "a".to_owned(),
                trunk: None,
            },
        ),
        line(
            2,
            Kind::Note {
                topic: "t".to_owned(),
                text: "hello".to_owned(),
            },
        ),
    ] {
        world.records.record(call, event);
    }
    let a = [("authorization", BEARER), ("x-tenant-id", "a")];
    let b = [("authorization", BEARER), ("x-tenant-id", "b")];
    let active = world.ask("GET", "/api/calls/active", &a, b"").await.json();
    assert_eq!(active["items"][0]["call_id"], call.to_string(), "{active}");
    assert_eq!(
        world.ask("GET", "/api/calls/active", &b, b"").await.json()["total"],
        0
    );
    assert_eq!(
        world.admin("GET", "/api/calls/active", b"").await.json()["total"],
        1,
        "the platform admin sees all"
    );
    for path in ["", "/events", "/explain", "/ladder"] {
        let path = format!("/api/calls/{call}{path}");
        assert_eq!(world.ask("GET", &path, &a, b"").await.status, 200, "{path}");
        assert_eq!(world.ask("GET", &path, &b, b"").await.status, 404, "{path}");
    }
    let events = world
        .ask("GET", &format!("/api/calls/{call}/events"), &a, b"")
        .await
        .json();
    assert_eq!(events["total"], 3);
    assert_eq!(
        (
            &events["items"][2]["kind"],
            &events["items"][2]["payload"]["text"]
        ),
        (&json!("note"), &json!("hello"))
    );
    let explain = world
        .ask("GET", &format!("/api/calls/{call}/explain"), &a, b"")
        .await
        .json();
    assert!(
        explain["sentences"][0].as_str().unwrap().contains("alice"),
        "{explain}"
    );

    let hangup = format!("/api/calls/{call}/hangup");
    assert_eq!(world.ask("POST", &hangup, &b, b"").await.status, 404);
    assert_eq!(world.ask("POST", &hangup, &a, b"{}").await.status, 202);
    let order = world.orders.try_recv().expect("the worker was told");
    assert!(format!("{order:?}").contains("Hangup"), "{order:?}");
    let gone = CallKey::new(9, 1, 5);
    assert_eq!(
        world
            .ask("POST", &format!("/api/calls/{gone}/hangup"), &a, b"")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_webhook_without_a_provider_is_not_found_and_needs_no_token() {
    let world = World::new(ONE).await;
    world.wasm("PUT", "/api/plugins/router", &router()).await;
    for path in [
        "/webhooks/demo/nobody",
        "/webhooks/demo/router/voice",
        "/webhooks/nobody/x",
        "/twilio",
        "/api/v1/sip/inbound/webhook",
    ] {
        let reply = world.anonymous("POST", path).await;
        assert_eq!(
            (reply.status, reply.json()["code"].as_str()),
            (404, Some("not_found")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn two_lengths_do_not_smuggle_a_second_request() {
    let world = World::new(ONE).await;
    let raw = format!(
        "POST /api/plugins HTTP/1.1\r\nHost: x\r\nAuthorization: {BEARER}\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    );
    let reply = world.raw(raw.as_bytes()).await;
    assert_eq!(
        String::from_utf8_lossy(&reply).matches("HTTP/1.1 ").count(),
        1
    );
}

// ---------------------------------------------------------------------------------------------

const ADMIN: &str = "secret-admin-token";
const BEARER: &str = "Bearer secret-admin-token";
const ONE: &str = "[[tenant]]\nid = \"demo\"\n";
const TWO: &str = "[[tenant]]\nid = \"a\"\n[[tenant]]\nid = \"b\"\n";

struct World {
    server: Server,
    records: Records,
    orders: tokio::sync::mpsc::Receiver<crate::worker::Order>,
    _folder: tempfile::TempDir,
}

struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

impl World {
    async fn new(tenants: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::parse(
            Path::new("f"),
            &format!("[http]\nlisten = \"127.0.0.1:0\"\n{tenants}"),
            &Default::default(),
        )
        .unwrap();
        let store = Store::open(&format!("sqlite://{}/test.db", folder.path().display()))
            .await
            .unwrap();
        let journal = JournalConfig {
            dir: folder.path().join("journal"),
            keep: Duration::from_secs(86_400 * 365 * 100),
        };
        let records = Records::start(&journal, store.clone()).unwrap();
        let settings = PluginHostConfig {
            instances: 20,
            threads: 1,
            ..PluginHostConfig::new(folder.path().join("plugins"), Compile::InProcess)
        };
        let (sender, orders) = tokio::sync::mpsc::channel(8);
        let deps = Deps {
            config: Arc::new(ArcSwap::from_pointee(config)),
            admin_token: Secret::new(ADMIN),
            workers: Workers::new(vec![(sender, Arc::default())]),
            plugins: PluginHost::new(settings).unwrap(),
            records: records.clone(),
            store,
            media: Arc::new(MediaStats::default),
        };
        World {
            server: serve(deps).await.unwrap(),
            records,
            orders,
            _folder: folder,
        }
    }

    async fn anonymous(&self, method: &str, path: &str) -> Reply {
        self.ask(method, path, &[], b"").await
    }

    async fn admin(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.ask(
            method,
            path,
            &[
                ("authorization", BEARER),
                ("content-type", "application/json"),
            ],
            body,
        )
        .await
    }

    async fn admin_owned(&self, method: &str, path: &str, body: String) -> Reply {
        self.admin(method, path, body.as_bytes()).await
    }

    async fn wasm(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.ask(
            method,
            path,
            &[
                ("authorization", BEARER),
                ("content-type", "application/wasm"),
            ],
            body,
        )
        .await
    }

    async fn json(&self, method: &str, path: &str) -> Value {
        let reply = self.admin(method, path, b"").await;
        assert_eq!(
            reply.status,
            StatusCode::OK.as_u16(),
            "{method} {path}: {}",
            reply.text()
        );
        reply.json()
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        parse(&self.raw(&[request.as_bytes(), body].concat()).await)
    }

    async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        // A body that is too large is refused before it is read to its end.
        let _ = stream.write_all(bytes).await;
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply).await;
        reply
    }
}

fn parse(raw: &[u8]) -> Reply {
    let end = raw
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no HTTP: {}", String::from_utf8_lossy(raw)));
    let head = std::str::from_utf8(&raw[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Reply {
        status,
        headers,
        body: raw[end + 4..].to_vec(),
    }
}

fn line(seq: u32, kind: Kind) -> CallEvent {
    CallEvent {
        seq,
        t_us: u64::from(seq) * 1000,
        kind,
    }
}

fn arrived(seq: u32) -> CallEvent {
    let info = CallInfo {
        call_id: String::new(),
        tenant: String::new(),
        trunk: None,
        direction: Direction::Inbound,
        source: Endpoint {
            host: [127, 0, 0, 1].into(),
            port: 5060,
            transport: Transport::Udp,
        },
        request_uri: "sip:100@host".to_owned(),
        called: "100".to_owned(),
        caller: "alice".to_owned(),
        from_uri: "sip:alice@host".to_owned(),
        from_display: None,
        to_uri: "sip:100@host".to_owned(),
        attestation: Attestation::None,
        codecs: Vec::new(),
        headers: Vec::new(),
        received_ms: 1_700_000_000_000,
        ext: Vec::new(),
    };
    line(seq, Kind::Arrived { info: info.into() })
}

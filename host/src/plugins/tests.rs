use super::*;
use plugin_host::registry::PluginView;
use plugin_host::{Compile, PluginHostConfig};
use std::fs;
use std::path::PathBuf;

#[test]
fn names_stay_in_their_folder() {
    for good in ["static-routes", "a", "v1.2_x"] {
        assert!(is_name(good), "{good}");
    }
    for bad in [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "a\0b",
        "a b",
        &"x".repeat(65),
    ] {
        assert!(!is_name(bad), "{bad}");
    }
}

#[test]
fn files_of_all_tenants_are_taken_at_the_start_and_broken_ones_are_told() {
    let world = World::new();
    world.file("a/router.wasm", &router());
    world.file("a/router.toml", b"[bind]\ndefault = true\n");
    world.file("b/page.wasm", b"<html>404</html>");
    world.file("b/wrong.wasm", &router());
    world.file("b/wrong.toml", b"[binds]\n");
    world.file("stray.wasm", &router());
    world.file("a/.router.wasm.swp", b"x");
    load_all(&world.dir, &world.plugins).unwrap();
    assert!(
        world
            .view("a", "router")
            .unwrap()
            .settings
            .bind
            .unwrap()
            .default
    );
    assert!(world.error("b", "page").unwrap().contains("web page"));
    let error = world.error("b", "wrong").unwrap();
    assert!(
        error.contains("wrong.toml") && error.contains("bind"),
        "{error}"
    );
    assert_eq!(world.plugins.registry().list("a").len(), 1);
}

#[test]
fn a_replaced_file_is_live_and_a_broken_one_changes_nothing() {
    let world = World::new();
    world.file("a/router.wasm", &router());
    load_all(&world.dir, &world.plugins).unwrap();
    let first = world.view("a", "router").unwrap().active;
    let _watcher = watch(&world.dir, world.plugins.clone()).unwrap();

    // Renamed over it.
    world.file("a/.new", &version(1));
    fs::rename(world.dir.join("a/.new"), world.dir.join("a/router.wasm")).unwrap();
    let second =
        world.wait(|| Some(world.view("a", "router")?.active).filter(|active| *active != first));

    // Copied in place, and broken.
    world.file("a/router.wasm", b"\0asm\x0d\0\x01\0");
    let error = world.wait(|| world.error("a", "router"));
    assert!(error.contains("exports none"), "{error}");
    assert_eq!(
        world.view("a", "router").unwrap().active,
        second,
        "the live version goes on"
    );

    // A later good file works.
    world.file("a/router.wasm", &version(2));
    world.wait(|| Some(()).filter(|()| world.error("a", "router").is_none()));
    assert_ne!(world.view("a", "router").unwrap().active, second);
}

#[test]
fn settings_alone_bind_anew_and_a_deleted_file_unbinds() {
    let world = World::new();
    fs::create_dir_all(&world.dir).unwrap();
    let _watcher = watch(&world.dir, world.plugins.clone()).unwrap();
    // A tenant's folder that comes later.
    world.file("a/router.wasm", &router());
    let active = world.wait(|| Some(world.view("a", "router")?.active));
    world.file("a/router.toml", b"[bind]\nnumbers = [\"+1*\"]\n");
    let bind = world.wait(|| world.view("a", "router")?.settings.bind);
    assert_eq!(bind.numbers, ["+1*"]);
    assert_eq!(world.view("a", "router").unwrap().active, active);
    world.file("a/router.toml", b"[bind]\nnumbers = [\"1*2\"]\n");
    world.wait(|| world.error("a", "router"));
    assert_eq!(
        world
            .view("a", "router")
            .unwrap()
            .settings
            .bind
            .unwrap()
            .numbers,
        ["+1*"],
        "the old binding stays"
    );
    fs::remove_file(world.dir.join("a/router.wasm")).unwrap();
    world.wait(|| Some(()).filter(|()| world.view("a", "router").is_none()));
}

#[test]
fn new_settings_do_not_undo_what_was_activated_over_rest() {
    let world = World::new();
    world.file("a/router.wasm", &router());
    load_all(&world.dir, &world.plugins).unwrap();
    let upload = version(7);
    let deploy = plugin_host::Deploy {
        tenant: "a",
        name: "router",
        bytes: &upload,
        origin: plugin_host::Origin::Api,
        settings: None,
        activate: true,
        by: "test",
    };
    let digest = world.plugins.deploy(&deploy).unwrap().digest().to_owned();
    world.file("a/router.toml", b"[bind]\ndefault = true\n");
    let folder = Folder::new(&world.dir, world.plugins.clone());
    folder.apply(
        &Key {
            tenant: "a".to_owned(),
            name: "router".to_owned(),
        },
        What::Settings,
    );
    let view = world.view("a", "router").unwrap();
    assert!(view.settings.bind.unwrap().default);
    assert_eq!(view.active, digest);
    // The file goes: the upload answers on, as it is not the folder's.
    fs::remove_file(world.dir.join("a/router.wasm")).unwrap();
    folder.apply(
        &Key {
            tenant: "a".to_owned(),
            name: "router".to_owned(),
        },
        What::Everything,
    );
    assert_eq!(world.view("a", "router").unwrap().active, digest);
}

/// A component of this workspace.
pub(crate) fn component(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/plugins/{name}.wasm"));
    fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask build` makes it", path.display()))
}

/// A router that dials everybody.
pub(crate) fn router() -> Vec<u8> {
    component("hello-router")
}

/// The same with another digest: a custom section at its end.
pub(crate) fn version(number: u8) -> Vec<u8> {
    [&router()[..], &[0, 3, 1, b'v', number]].concat()
}

struct World {
    _folder: tempfile::TempDir,
    dir: PathBuf,
    plugins: Arc<PluginHost>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = PluginHostConfig {
            instances: 20,
            threads: 1,
            ..PluginHostConfig::new(folder.path().join("data"), Compile::InProcess)
        };
        let dir = folder.path().join("plugins.d");
        World {
            plugins: PluginHost::new(config).unwrap(),
            _folder: folder,
            dir,
        }
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn view(&self, tenant: &str, name: &str) -> Option<PluginView> {
        self.plugins.registry().view(tenant, name)
    }

    fn error(&self, tenant: &str, name: &str) -> Option<String> {
        Some(self.view(tenant, name)?.last_error?.error)
    }

    /// What the folder's thread does, it does soon.
    fn wait<T>(&self, look: impl Fn() -> Option<T>) -> T {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < until, "it did not happen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

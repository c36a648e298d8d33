//! Randomness and the admin's token.

use crate::config::{HttpConfig, Secret};
use anyhow::Context as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

/// From the system's generator.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("/dev/urandom")?;
    Ok(bytes)
}

/// The platform admin's token: configured, or from its file, which is made if need be.
pub fn admin_token(config: &HttpConfig) -> anyhow::Result<Secret> {
    if let Some(token) = &config.admin_token {
        return Ok(token.clone());
    }
    let path = &config.admin_token_file;
    let name = || format!("http.admin_token_file {}", path.display());
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(Secret::new(text.trim())),
        Ok(_) => anyhow::bail!("{} is empty", name()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(name),
    }
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder).with_context(name)?;
    }
    let token = hex::encode(random::<32>()?);
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| writeln!(file, "{token}"))
        .with_context(name)?;
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::parse(Path::new("f"), "", &Default::default())
            .unwrap()
            .http;
        config.admin_token_file = folder.path().join("var/token");
        let token = admin_token(&config).unwrap();
        assert_eq!(token.reveal().len(), 64);
        assert_eq!(admin_token(&config).unwrap(), token);
        let mode = fs::metadata(&config.admin_token_file)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        config.admin_token = Some(Secret::new("given"));
        assert_eq!(admin_token(&config).unwrap().reveal(), "given");
    }
}

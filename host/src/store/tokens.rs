//! API tokens of tenants. A token is shown once, when it is made; here is only its hash.

use super::{Store, StoreError, now_ms, signed};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: String,
    pub tenant: String,
    pub name: String,
    /// SHA-256 of the token
    pub hash: Vec<u8>,
    /// Its first characters, so that people can tell tokens apart.
    pub prefix: String,
    pub scopes: Vec<String>,
    pub created_ms: u64,
    pub expires_ms: Option<u64>,
}

impl Store {
    pub async fn insert_token(&self, token: &TokenRow) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO token (id, tenant, name, hash, prefix, scopes, created_ms, expires_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(&token.id)
            .bind(&token.tenant)
            .bind(&token.name)
            .bind(&token.hash)
            .bind(&token.prefix)
            .bind(token.scopes.join(" "))
            .bind(signed(token.created_ms))
            .bind(token.expires_ms.map(signed))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Of one tenant, oldest first.
    pub async fn tokens(&self, tenant: &str) -> Result<Vec<TokenRow>, StoreError> {
        let rows = sqlx::query(&format!(
            "SELECT {COLUMNS} FROM token WHERE tenant = $1 ORDER BY created_ms, id"
        ))
        .bind(tenant)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(token).collect()
    }

    /// The one with this hash, if it has not expired.
    pub async fn token_by_hash(&self, hash: &[u8]) -> Result<Option<TokenRow>, StoreError> {
        let row = sqlx::query(&format!("SELECT {COLUMNS} FROM token WHERE hash = $1 AND (expires_ms IS NULL OR expires_ms > $2)"))
            .bind(hash)
            .bind(signed(now_ms()))
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(token).transpose()
    }

    pub async fn delete_token(&self, tenant: &str, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM token WHERE tenant = $1 AND id = $2")
            .bind(tenant)
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

const COLUMNS: &str = "id, tenant, name, hash, prefix, scopes, created_ms, expires_ms";

fn token(row: &SqliteRow) -> Result<TokenRow, StoreError> {
    Ok(TokenRow {
        id: row.try_get(0)?,
        tenant: row.try_get(1)?,
        name: row.try_get(2)?,
        hash: row.try_get(3)?,
        prefix: row.try_get(4)?,
        scopes: row
            .try_get::<String, _>(5)?
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        created_ms: row.try_get::<i64, _>(6)?.max(0) as u64,
        expires_ms: row.try_get::<Option<i64>, _>(7)?.map(|ms| ms.max(0) as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[tokio::test]
    async fn an_expired_token_is_not_found_by_its_hash() {
        let (store, _folder) = store().await;
        let token = |id: &str, expires_ms| TokenRow {
            id: id.to_owned(),
            tenant: "a".to_owned(),
            name: "ci".to_owned(),
            hash: id.as_bytes().to_vec(),
            prefix: "gp_".to_owned(),
            scopes: vec!["read".to_owned(), "publish".to_owned()],
            created_ms: 1,
            expires_ms,
        };
        store.insert_token(&token("good", None)).await.unwrap();
        store.insert_token(&token("old", Some(5))).await.unwrap();
        assert_eq!(
            store.token_by_hash(b"good").await.unwrap().unwrap().scopes,
            ["read", "publish"]
        );
        assert_eq!(store.token_by_hash(b"old").await.unwrap(), None);
        assert_eq!(store.tokens("a").await.unwrap().len(), 2);
        assert!(
            !store.delete_token("b", "good").await.unwrap(),
            "another tenant's"
        );
        assert!(store.delete_token("a", "good").await.unwrap());
    }
}

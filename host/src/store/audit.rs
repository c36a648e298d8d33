//! Who changed what, over REST or by a file.

use super::{Listed, Page, Store, StoreError, now_ms, signed};
use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRow {
    pub at_ms: u64,
    pub tenant: Option<String>,
    /// e.g. `admin`, `token:ID`, `file`
    pub actor: String,
    /// e.g. `plugin.activate`
    pub action: String,
    pub object: String,
    pub detail: String,
}

impl Store {
    pub async fn audit(
        &self,
        tenant: Option<&str>,
        actor: &str,
        action: &str,
        object: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO audit (at_ms, tenant, actor, action, object, detail) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(signed(now_ms()))
            .bind(tenant)
            .bind(actor)
            .bind(action)
            .bind(object)
            .bind(detail)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Newest first.
    pub async fn audit_log(
        &self,
        tenant: &str,
        page: Page,
    ) -> Result<Listed<AuditRow>, StoreError> {
        let total: i64 = sqlx::query_scalar("SELECT count(*) FROM audit WHERE tenant = $1")
            .bind(tenant)
            .fetch_one(&self.pool)
            .await?;
        let rows = sqlx::query(
            "SELECT at_ms, tenant, actor, action, object, detail FROM audit WHERE tenant = $1 ORDER BY at_ms DESC, id DESC LIMIT $2 OFFSET $3",
        )
        .bind(tenant)
        .bind(page.limit())
        .bind(page.offset())
        .fetch_all(&self.pool)
        .await?;
        let row = |row: &SqliteRow| {
            Ok(AuditRow {
                at_ms: row.try_get::<i64, _>(0)?.max(0) as u64,
                tenant: row.try_get(1)?,
                actor: row.try_get(2)?,
                action: row.try_get(3)?,
                object: row.try_get(4)?,
                detail: row.try_get(5)?,
            })
        };
        let items: Result<_, StoreError> = rows.iter().map(row).collect();
        Ok(Listed {
            items: items?,
            total: total.max(0) as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    #[tokio::test]
    async fn the_log_tells_the_newest_first_and_of_one_tenant_only() {
        let (store, _folder) = store().await;
        store
            .audit(Some("a"), "admin", "plugin.create", "x", "")
            .await
            .unwrap();
        store
            .audit(Some("a"), "admin", "plugin.delete", "x", "")
            .await
            .unwrap();
        store
            .audit(Some("b"), "admin", "plugin.create", "y", "")
            .await
            .unwrap();
        let log = store
            .audit_log(
                "a",
                Page {
                    page: 1,
                    per_page: 10,
                },
            )
            .await
            .unwrap();
        assert_eq!(log.total, 2);
        assert_eq!(log.items[0].action, "plugin.delete");
    }
}

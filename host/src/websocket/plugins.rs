//! Dialects that are connector components.

use super::dialect::{Action, Dialect, Dialects, Event, Started};
use b2bua::call_info::CallInfo;
use b2bua::flow::Connect;
use futures::FutureExt;
use futures::future::BoxFuture;
use plugin_host::{ConnectorInstance, PluginHost};
use std::sync::Arc;

/// The connectors that the call's tenant has.
pub struct PluginDialects(pub Arc<PluginHost>);

impl Dialects for PluginDialects {
    fn start(
        &self,
        connect: &Connect,
        info: &Arc<CallInfo>,
    ) -> BoxFuture<'static, Result<Started, String>> {
        let (host, connect, info) = (self.0.clone(), connect.clone(), info.clone());
        async move {
            let Connect {
                id,
                connector,
                settings,
            } = connect;
            match host
                .start_connector(&info.tenant, &connector, &info, &settings, id)
                .await
            {
                Ok((instance, connection)) => {
                    let grants = instance.grants.clone();
                    Ok(Started {
                        dialect: Box::new(instance),
                        connection,
                        grants,
                    })
                }
                Err(failure) => Err(format!("the connector {connector} cannot start: {failure}")),
            }
        }
        .boxed()
    }
}

impl Dialect for ConnectorInstance {
    fn on_event(&mut self, event: Event) -> BoxFuture<'_, Result<Vec<Action>, String>> {
        async move {
            ConnectorInstance::on_event(self, event)
                .await
                .map_err(|failure| failure.to_string())
        }
        .boxed()
    }
}

//! `GET /v1/agent/self`.

use crate::Opaque;

wire! {
    pub struct AgentSelf {
        @always {
            config: AgentConfig = "Config",
            debug_config: Opaque = "DebugConfig",
            coord: Opaque = "Coord",
            member: Opaque = "Member",
            stats: Opaque = "Stats",
            meta: Opaque = "Meta",
        }
    }

    pub struct AgentConfig {
        @always {
            datacenter: String = "Datacenter",
            primary_datacenter: String = "PrimaryDatacenter",
            node_name: String = "NodeName",
            node_id: String = "NodeID",
            /// The embedded registry names itself here.
            revision: String = "Revision",
            server: bool = "Server",
            /// The API level implemented; clients compare it.
            version: String = "Version",
            build_date: String = "BuildDate",
        }
    }
}

//! core: the options of mosquitto that have no place here, each with what there is instead.

const TLS_FIXED: &str = "TLS is 1.2 or 1.3 with the ciphers of rustls, and nothing to set";
const NO_PSK: &str =
    "TLS with pre-shared keys is not in this version; use certificates, or users with passwords";
const NO_ENGINE: &str = "keys come from PEM files";
const NO_PLUGIN: &str = "plugins are not run here; users, certificates and rules stand in `broker`";
const LOG: &str = "logging goes to the journal or standard error; set `log: { level: … }`";
const DURABLE: &str =
    "sessions, queued and retained messages are always stored, each before it is acknowledged";
const SERVICE: &str =
    "the service unit decides that (systemd's `User=`); see systemd/ in the repository";
const BRIDGE_STATE: &str = "the state of an uplink is told on a topic of the gateway's own";
const WEB_FILES: &str = "listeners serve no files; keep them on a web server";

/// What there is instead of `option`, if mosquitto has such an option and there is no key for it.
pub(super) fn instead(option: &str) -> Option<&'static str> {
    Some(match option {
        "ciphers" | "ciphers_tls1.3" | "tls_version" | "dhparamfile" | "bridge_tls_version"
        | "bridge_ciphers" => TLS_FIXED,
        "psk_hint" | "psk_file" | "bridge_psk" | "bridge_identity" => NO_PSK,
        "tls_engine" | "tls_engine_kpass_sha1" | "tls_keyform" => NO_ENGINE,
        "crlfile" => {
            "revoked certificates are not looked up; remove the user, or change the authority"
        }
        "capath" => "the authorities for client certificates stand in one PEM file: `client_ca`",
        "auth_plugin" | "plugin" | "global_plugin" | "auth_plugin_deny_special_chars" => NO_PLUGIN,
        _ if option.starts_with("auth_opt_") || option.starts_with("plugin_opt_") => NO_PLUGIN,
        "log_dest"
        | "log_facility"
        | "log_timestamp"
        | "log_timestamp_format"
        | "log_type"
        | "connection_messages"
        | "websockets_log_level" => LOG,
        "autosave_interval"
        | "autosave_on_changes"
        | "persistence_file"
        | "retained_persistence" => DURABLE,
        "user" | "pid_file" => SERVICE,
        "http_dir" | "websockets_headers_size" => WEB_FILES,
        "memory_limit" => "memory is bounded by `limits`; the service unit can set `MemoryMax=`",
        "mount_point" => {
            "topics of a listener are not moved; put the prefix into the clients' topics"
        }
        "bind_interface" => "a listener is given by its address; write that of the interface",
        "use_username_as_clientid" => {
            "client ids are the clients' own; `client_id_prefix: \"%u\"` under `users` ties them to the user"
        }
        "use_subject_as_username" => {
            "the user is the common name of the certificate: `certificate_user: true`"
        }
        "set_tcp_nodelay" => "it is always so",
        "allow_zero_length_clientid" | "auto_id_prefix" => {
            "clients without an id are always given one"
        }
        "allow_duplicate_messages" | "upgrade_outgoing_qos" => {
            "a message comes once for each client at the lower QoS of the two; so the standard has it"
        }
        "check_retain_source" => {
            "what was retained stays until it is cleared, whatever its publisher may do today; clear it with `fieldpost pub -r -n -t TOPIC`"
        }
        "queue_qos0_messages" => "QoS 0 is not queued for clients that are away; publish at QoS 1",
        "retain_available" => "retained messages are always taken",
        "max_qos" => "QoS 0 to 2 are always taken",
        "max_topic_alias" | "max_topic_alias_broker" => {
            "the number of topic aliases cannot be set here"
        }
        "max_inflight_bytes" => {
            "at most 4 MiB of payload are under way to a client; the number is bounded by `limits: { inflight: … }`"
        }
        "retain_expiry_interval" => {
            "retained messages stay until they expire by their own message expiry"
        }
        "notifications" | "notification_topic" | "notifications_local_only" => BRIDGE_STATE,
        "restart_timeout" => "a lost uplink is tried again after 0.5 s to 60 s, longer each time",
        "cleansession" | "local_cleansession" => {
            "an uplink always resumes its session, so that nothing is lost"
        }
        "local_clientid" | "local_username" | "local_password" => {
            "an uplink is part of the gateway and needs no account here"
        }
        "bridge_insecure" => "the name in the upstream's certificate is always verified",
        "bridge_alpn" => "ALPN is not spoken",
        "bridge_attempt_unsubscribe" => {
            "what is no longer in `accept` is not unsubscribed; remove the session upstream"
        }
        "bridge_bind_address" => "the system chooses the address an uplink dials from",
        "bridge_max_packet_size" => "the upstream says what it takes in MQTT 5",
        "bridge_require_ocsp" => "revoked certificates are not looked up",
        "bridge_reload_type" | "bridge_tcp_keepalive" | "bridge_tcp_user_timeout" => {
            "it is not set here"
        }
        _ => return None,
    })
}

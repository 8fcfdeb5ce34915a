import SwerveCore

extension Flag {
  /// What protects links between hosts.
  static let links: [Flag] = [
    .string(
      "tls-certificate", .parallelism, \.engine.dataWorkers.links.certificate,
      "this worker's certificate for links with other hosts, from swerve certs"),
    .string("tls-key", .parallelism, \.engine.dataWorkers.links.key, "its private key"),
    .string("tls-ca", .parallelism, \.engine.dataWorkers.links.authority, "the authority of all workers"),
    .custom(
      "link-encryption", .choice(["none": "none", "off": "none", "aes-gcm": "aes-gcm"]), .parallelism,
      default: "aes-gcm with certificates", "how keys and values travel between hosts"
    ) { settings, value in settings.engine.dataWorkers.links.encryption = value.text },
    .string(
      "link-key-file", .parallelism, \.engine.dataWorkers.links.keyFile,
      "file of the key that prompts are handed over under, the same for all: 32 bytes, raw, hexadecimal or base64"),
    .bool(
      "trusted-network", .parallelism, \.engine.dataWorkers.links.trustsNetwork, default: false,
      "allow links with other hosts that nothing protects"),
  ]

  /// `data-worker`.
  static let dataWorker: [Flag] =
    [
      .string("listen", .data, \.data.listen, "where to wait for a parameter worker: host:port, or 0.0.0.0:port")
    ] + links + memory.filter { $0.name == "kv-cache-memory-bytes" } + cpu.filter { $0.name == "threads" }

  /// `certs`.
  static let certificates: [Flag] = [
    .string(
      "out", .certificates, \.certificates.folder, default: "certs", "folder of the authority and what it issues"),
    .string("cluster", .certificates, \.certificates.cluster, default: "swerve", "init: the cluster's name"),
    .custom(
      "hosts", .string, .certificates, default: "null",
      "init: a data worker's certificate for each of these; issue: names and addresses of the worker"
    ) { settings, value in
      settings.certificates.hosts =
        value.text.lowercased() == "null" ? [] : value.text.split(separator: ",").map(String.init)
    },
    .double("days", .certificates, \.certificates.days, default: 365, "how long certificates are valid"),
    .custom(
      "role", .words("parameter", "data", "router", "client"), .certificates, default: "null",
      "issue: what the worker may be"
    ) { settings, value in settings.certificates.role = value.text },
    .string("name", .certificates, \.certificates.name, "issue: the worker's name"),
    .bool("force", .certificates, \.certificates.force, default: false, "replace files that are there"),
  ]
}

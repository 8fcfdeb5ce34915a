import SwerveCore

extension Flag {
  /// Keys and values that go to other servers, or come from them.
  static let transfer: [Flag] = [
    .custom(
      "kv-transfer-config", .json, .memory, default: "{}",
      "hand prompts' keys and values to other servers, or take theirs: {\"kv_connector\":\"SwerveConnector\",\"kv_role\":…}"
    ) { settings, value in
      guard case .json(let json) = value else { return }
      settings.engine.kvTransfer = try TransferFlag.configuration(json)
    }
  ]
}

/// `--kv-transfer-config`, read and checked.
enum TransferFlag {
  static let connector = "SwerveConnector"

  /// Connectors of other engines, and how to have the same here.
  private static let others = [
    "OffloadingConnector": "blocks below the device are --kv-tiers host=SIZE (or --kv-offloading-size GIB) here",
    "SharedStorageConnector": "blocks in files are --kv-tiers host=SIZE,nvme=SIZE:/FOLDER here",
    "ExampleConnector": "blocks in files are --kv-tiers host=SIZE,nvme=SIZE:/FOLDER here",
    "NixlConnector": "links are TCP here; use SwerveConnector, which takes the same kv_role and kv_transfer_params",
    "P2pNcclConnector": "links are TCP here; use SwerveConnector, which takes the same kv_role and kv_transfer_params",
    "MooncakeConnector": "links are TCP here; use SwerveConnector, which takes the same kv_role and kv_transfer_params",
    "LMCacheConnectorV1": "blocks below the device are --kv-tiers host=SIZE,nvme=SIZE:/FOLDER here",
    "MultiConnector":
      "tiers and transfers work side by side here: give --kv-tiers and one --kv-transfer-config with SwerveConnector",
  ]

  /// nil for an empty object or null.
  static func configuration(_ json: JSON) throws -> KVTransferConfiguration? {
    if json.isNull { return nil }
    guard case .object(let object) = json else { throw FlagError("needs a JSON object, not \(json.text)") }
    if object.isEmpty { return nil }
    try checkConnector(object)
    guard let name = object["kv_role"]?.string, let role = KVTransferConfiguration.Role(rawValue: name) else {
      throw FlagError("needs kv_role: kv_producer, kv_consumer or kv_both, not \(object["kv_role"]?.text ?? "nothing")")
    }
    var transfer = KVTransferConfiguration(role: role)
    for (key, value) in object {
      switch key {
      case "kv_connector", "kv_role": continue
      case "kv_ip": transfer.host = try string(key, value)
      case "kv_port": transfer.port = try int(key, value)
      case "engine_id": transfer.engineID = try string(key, value)
      case "kv_buffer_size": transfer.bufferBytes = Int(try number(key, value))
      case "kv_load_failure_policy":
        guard let policy = KVTransferConfiguration.LoadFailurePolicy(rawValue: try string(key, value)) else {
          throw FlagError("needs kv_load_failure_policy: recompute or fail, not \(value.text)")
        }
        transfer.loadFailurePolicy = policy
      case "kv_buffer_device":
        guard try string(key, value) == "cpu" else {
          throw FlagError("has kv_buffer_device \(value.text); it is cpu here")
        }
      case "kv_connector_extra_config":
        guard case .object(let extra) = value else { throw FlagError("needs an object for \(key), not \(value.text)") }
        try read(extra, into: &transfer)
      case "kv_rank", "kv_parallel_size": _ = try int(key, value)
      default:
        throw FlagError(
          "does not know \(key); there are kv_connector, kv_role, kv_ip, kv_port, engine_id, kv_buffer_size, "
            + "kv_buffer_device, kv_load_failure_policy and kv_connector_extra_config")
      }
    }
    transfer.version = Version.text
    return transfer
  }

  private static func checkConnector(_ object: JSONObject) throws {
    let name = object["kv_connector"]?.string ?? ""
    if name == connector { return }
    if let instead = others[name] { throw FlagError("has no \(name): \(instead)") }
    throw FlagError(
      "needs kv_connector: \(connector), not \(name.isEmpty ? "nothing" : name); what other engines call "
        + "OffloadingConnector or SharedStorageConnector is --kv-tiers here")
  }

  private static func read(_ extra: JSONObject, into transfer: inout KVTransferConfiguration) throws {
    for (key, value) in extra {
      switch key {
      case "timeout_seconds": transfer.timeoutSeconds = try number(key, value)
      case "connect_seconds": transfer.connectSeconds = try number(key, value)
      case "silence_seconds": transfer.silenceSeconds = try number(key, value)
      case "peers":
        guard let names = value.array?.map(\.string), !names.contains(nil) else {
          throw FlagError("needs a list of hosts for peers, not \(value.text)")
        }
        transfer.peers = names.compactMap { $0 }
      default:
        throw FlagError(
          "does not know \(key) in kv_connector_extra_config; there are timeout_seconds, connect_seconds, "
            + "silence_seconds and peers")
      }
    }
  }

  private static func string(_ key: String, _ value: JSON) throws -> String {
    guard let text = value.string else { throw FlagError("needs a string for \(key), not \(value.text)") }
    return text
  }

  private static func int(_ key: String, _ value: JSON) throws -> Int {
    guard let number = value.int else { throw FlagError("needs a whole number for \(key), not \(value.text)") }
    return number
  }

  private static func number(_ key: String, _ value: JSON) throws -> Double {
    guard let number = value.double, number.isFinite, abs(number) < 1e17 else {
      throw FlagError("needs a number for \(key), not \(value.text)")
    }
    return number
  }
}

extension Settings {
  /// What flags of links are to transfers of keys and values.
  mutating func applyLinks(problems: inout [String]) {
    let links = engine.dataWorkers.links
    if engine.kvTransfer != nil && links.encryption == "aes-gcm" && links.keyFile == nil {
      problems.append("--link-encryption aes-gcm needs --link-key-file: the same 32 bytes on every machine.")
    }
    if links.keyFile != nil && links.encryption == "none" {
      problems.append("--link-key-file is for --link-encryption aes-gcm, not none.")
    }
    engine.kvTransfer?.linkKeyFile = links.keyFile
    engine.kvTransfer?.trustsNetwork = links.trustsNetwork
  }
}

/// How an engine hands keys and values of prompts to other engines and takes theirs (`--kv-transfer-config`).
public struct KVTransferConfiguration: Sendable, Hashable {
  public enum Role: String, Sendable, CaseIterable {
    case producer = "kv_producer"
    case consumer = "kv_consumer"
    case both = "kv_both"

    /// Whether it computes prompts for others.
    public var sends: Bool { self != .consumer }
    /// Whether it goes on with prompts that others computed.
    public var receives: Bool { self != .producer }
  }

  /// What becomes of a request whose blocks do not come.
  public enum LoadFailurePolicy: String, Sendable, CaseIterable { case recompute, fail }

  public var role: Role
  /// The address that is listened on; other engines reach this one there.
  public var host = "127.0.0.1"
  /// 0 = any free one.
  public var port = 14579
  /// What answers and metrics call this engine.
  public var engineID = ""
  public var loadFailurePolicy = LoadFailurePolicy.recompute
  /// Bytes of blocks on their way here, and as many of blocks on their way out.
  public var bufferBytes = 1_000_000_000
  /// Seconds that blocks are kept which nobody asks for.
  public var timeoutSeconds = 120.0
  /// Seconds to connect, and for an answer to a reservation.
  public var connectSeconds = 5.0
  /// Seconds without a sign of life after which the other side is gone.
  public var silenceSeconds = 10.0
  /// Hosts that may be called; nil = any that the rule about open links allows.
  public var peers: [String]?
  /// Whether links to other machines may be open.
  public var trustsNetwork = false
  /// File of the key that links are sealed with; nil = they are open.
  public var linkKeyFile: String?
  /// The program's version: blocks of another one are not taken.
  public var version = ""

  public init(role: Role) { self.role = role }

  /// All problems, each one sentence.
  public func problems() -> [String] {
    var found: [String] = []
    func require(_ holds: Bool, _ sentence: String) { if !holds { found.append("--kv-transfer-config: \(sentence)") } }
    require(
      !["0.0.0.0", "::", ""].contains(host),
      "kv_ip must be an address at which others reach this server, not \(host.debugDescription).")
    require((0...65535).contains(port), "kv_port must be between 0 and 65535, not \(port).")
    require(
      (1...1 << 50).contains(bufferBytes), "kv_buffer_size must be between 1 and \(1 << 50) bytes, not \(bufferBytes).")
    for (name, value) in [
      ("timeout_seconds", timeoutSeconds), ("connect_seconds", connectSeconds), ("silence_seconds", silenceSeconds),
    ] {
      require(value > 0 && value <= 86_400, "\(name) must be greater than 0 and at most 86400, not \(value).")
    }
    require(engineID.utf8.count <= 200, "engine_id must have at most 200 bytes, not \(engineID.utf8.count).")
    return found
  }
}

/// A request's part of a transfer (`kv_transfer_params`).
public struct KVTransferParams: Sendable, Hashable {
  /// Compute the prompt, and hand its blocks over.
  public var isForRemoteDecode = false
  /// Go on with blocks that another engine computed.
  public var isRemotePrefilled = false
  /// The transfer: 32 hexadecimal digits. Made by the router, or by the producer.
  public var transferID: String?
  /// Producer: where to push; nil = the blocks are kept until they are pulled. Consumer: where they are kept.
  public var host: String?
  public var port: Int?
  public var engineID: String?
  /// Consumer: whether the blocks were pushed already, so that there is nothing to pull.
  public var isPushed = false
  /// The prompt's place among those of its request.
  public var place = 0
  /// As the client wrote them.
  public var given = JSONObject()

  public init() {}
}

extension EngineConfiguration {
  /// What of the configuration does not go with handing blocks over; one sentence each.
  func transferProblems() -> [String] {
    guard let kvTransfer else { return [] }
    var found = kvTransfer.problems()
    func require(_ holds: Bool, _ sentence: String) { if !holds { found.append("--kv-transfer-config: \(sentence)") } }
    require(
      dataWorkers.addresses.isEmpty,
      "blocks are copied from and to data workers of this host; use --data-workers, not --data-workers-at.")
    require(
      !kvTransfer.role.receives || enablePrefixCaching,
      "a \(kvTransfer.role.rawValue) takes blocks into the prefix cache; leave --no-enable-prefix-caching out, or make it "
        + "a kv_producer.")
    return found
  }
}

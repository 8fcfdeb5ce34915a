import SwerveCore

extension KVTransferParams {
  /// `kv_transfer_params`, whose members routers of prefill and decode servers agree on; nil where there are none.
  init?(_ reader: FieldReader) throws(RequestError) {
    guard let given = try reader.object("kv_transfer_params") else { return nil }
    self.init()
    let fields = FieldReader(given, path: reader.path(of: "kv_transfer_params"))
    isForRemoteDecode = try fields.bool("do_remote_decode") ?? false
    isRemotePrefilled = try fields.bool("do_remote_prefill") ?? false
    if isForRemoteDecode && isRemotePrefilled {
      throw .badRequest(
        "kv_transfer_params.do_remote_decode and do_remote_prefill exclude each other: a prompt is handed over or taken.",
        param: "kv_transfer_params")
    }
    transferID = try fields.string("transfer_id")
    host = try fields.string("remote_host")
    port = try fields.int("remote_port", in: 1...65535)
    if (host == nil) != (port == nil) {
      throw .badRequest(
        "kv_transfer_params needs remote_host and remote_port together, or neither.", param: "kv_transfer_params")
    }
    engineID = try fields.string("remote_engine_id")
    isPushed = try fields.bool("pushed") ?? false
    self.given = given
  }
}

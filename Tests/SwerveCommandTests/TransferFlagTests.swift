import SwerveCommand
import SwerveCore
import SwerveRouter
import Testing

/// `--kv-transfer-config`, flags of links, and those of the router.
@Suite struct TransferFlagTests {
  @Test func `a transfer configuration is read with all its members`() throws {
    #expect(try parse([]).settings.engine.kvTransfer == nil)
    #expect(try parse(["--kv-transfer-config", "{}"]).settings.engine.kvTransfer == nil)
    let text = #"""
      {"kv_connector":"SwerveConnector","kv_role":"kv_consumer","kv_ip":"127.0.0.2","kv_port":15000,"engine_id":"d0",
      "kv_load_failure_policy":"fail","kv_buffer_size":1e8,"kv_buffer_device":"cpu",
      "kv_connector_extra_config":{"timeout_seconds":7,"connect_seconds":1.5,"silence_seconds":3,"peers":["10.0.0.1"]}}
      """#
    let transfer = try #require(try parse(["--kv-transfer-config", text]).settings.engine.kvTransfer)
    #expect(transfer.role == .consumer && transfer.host == "127.0.0.2" && transfer.port == 15_000)
    #expect(transfer.engineID == "d0" && transfer.loadFailurePolicy == .fail && transfer.bufferBytes == 100_000_000)
    #expect(transfer.timeoutSeconds == 7 && transfer.connectSeconds == 1.5 && transfer.silenceSeconds == 3)
    #expect(transfer.peers == ["10.0.0.1"] && !transfer.trustsNetwork && transfer.linkKeyFile == nil)
    let plain = #"{"kv_connector":"SwerveConnector","kv_role":"kv_both"}"#
    let sealed = try parse([
      "--kv-transfer-config", plain, "--link-encryption", "aes-gcm", "--link-key-file", "/k", "--trusted-network",
    ]).settings.engine.kvTransfer
    #expect(sealed?.linkKeyFile == "/k" && sealed?.trustsNetwork == true && sealed?.port == 14_579)
  }

  @Test func `what is wrong with it is said in one sentence`() {
    func config(_ members: String) -> [String] { ["--kv-transfer-config", "{\(members)}"] }
    let both = #""kv_connector":"SwerveConnector","kv_role":"kv_both""#
    for (arguments, word) in [
      (config(#""kv_role":"kv_both""#), "kv_connector: SwerveConnector"),
      (config(#""kv_connector":"Nothing","kv_role":"kv_both""#), "kv_connector: SwerveConnector"),
      (config(#""kv_connector":"NixlConnector","kv_role":"kv_both""#), "use SwerveConnector"),
      (config(#""kv_connector":"OffloadingConnector","kv_role":"kv_both""#), "--kv-tiers"),
      (config(#""kv_connector":"SharedStorageConnector","kv_role":"kv_both""#), "nvme="),
      (config(#""kv_connector":"MultiConnector","kv_role":"kv_both""#), "side by side"),
      (config(#""kv_connector":"SwerveConnector""#), "kv_producer, kv_consumer or kv_both"),
      (config(#""kv_connector":"SwerveConnector","kv_role":"kv_neither""#), "kv_producer, kv_consumer or kv_both"),
      (config(both + #","kv_port":"x""#), "whole number for kv_port"),
      (config(both + #","kv_port":70000"#), "kv_port must be between"),
      (config(both + #","kv_load_failure_policy":"ignore""#), "recompute or fail"),
      (config(both + #","kv_buffer_device":"cuda""#), "it is cpu here"),
      (config(both + #","kv_prot":1"#), "does not know kv_prot"),
      (config(both + #","kv_connector_extra_config":{"backends":["UCX"]}"#), "does not know backends"),
      (config(both + #","kv_connector_extra_config":{"peers":[1]}"#), "list of hosts"),
      (config(both) + ["--data-workers-at", "a:1"], "not --data-workers-at"),
      (config(both) + ["--no-enable-prefix-caching"], "--no-enable-prefix-caching"),
      (config(both) + ["--link-encryption", "aes-gcm"], "--link-key-file"),
      (["--link-encryption", "off", "--link-key-file", "/k"], "--link-encryption aes-gcm"),
    ] {
      #expect(problems(arguments).contains { $0.contains(word) }, "\(arguments): \(problems(arguments))")
    }
  }

  @Test func `a router needs servers that answer`() {
    var configuration = RouterConfiguration()
    #expect(configuration.problems().count == 1)
    configuration.decode = ["localhost:8000"]
    #expect(configuration.problems() == ["localhost:8000 is no server's address; write http://HOST:PORT."])
    configuration.decode = ["http://localhost:8000"]
    #expect(configuration.problems().isEmpty)
    configuration.prefillSeconds = 0
    configuration.port = 70_000
    #expect(configuration.problems().count == 2)
  }
}

extension Flag {
  /// Links to other machines: sealed, or on a network that somebody answers for.
  static let links: [Flag] = [
    .custom(
      "link-encryption", .choice(["off": "off", "none": "off", "aes-gcm": "aes-gcm"]), .parallelism, default: "off",
      "how links to other machines are sealed"
    ) { $0.links.seals = $1.text == "aes-gcm" },
    .string(
      "link-key-file", .parallelism, \.links.keyFile,
      "file of the key that links are sealed with, the same for all: 32 bytes, raw, hexadecimal or base64"),
    .bool("trusted-network", .parallelism, \.links.trustsNetwork, default: false, "allow open links to other machines"),
  ]
}

/// `--link-encryption` and what belongs to it.
package struct LinkSettings: Sendable {
  package var seals = false
  package var keyFile: String?
  package var trustsNetwork = false
}

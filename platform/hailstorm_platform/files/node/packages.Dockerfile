ARG BASE
FROM ${BASE}
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    systemd systemd-sysv dbus containerd runc containernetworking-plugins conntrack iptables \
    nftables ipset iproute2 ethtool util-linux mount kmod libseccomp2 jq procps curl bash \
 && apt-get clean && rm -rf /var/lib/apt/lists/*

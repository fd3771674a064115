# What kind's own images/base/Dockerfile does to Debian, with Debian's containerd,
# runc and CNI plugins in place of those it compiles from git.
ARG BASE
FROM ${BASE}
COPY files/ /
COPY kubeadm kubelet kubectl /usr/bin/
COPY manifests/ /kind/manifests/
ARG VERSION
RUN chmod 0755 /usr/bin/kubeadm /usr/bin/kubelet /usr/bin/kubectl /usr/local/bin/* /kind/bin /kind/bin/* \
 && chmod 0644 /etc/systemd/system/*.service /etc/systemd/system/*.slice \
 && ln -sf /usr/bin/containerd /usr/local/bin/containerd && ln -sf /usr/bin/ctr /usr/local/bin/ctr \
 && mkdir -p /opt/cni /etc/kubernetes/manifests && ln -s /usr/lib/cni /opt/cni/bin \
 && find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete \
 && rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
    /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
 && echo ReadKMsg=no >> /etc/systemd/journald.conf \
 && systemctl enable kubelet containerd undo-mount-hacks && systemctl mask systemd-binfmt.service \
 && ctr oci spec \
    | jq '.hooks.createContainer[.hooks.createContainer|length] |= . + {"path":"/kind/bin/mount-product-files.sh"}' \
    | jq 'del(.process.rlimits)' > /etc/containerd/cri-base.json \
 && echo "${VERSION}" > /kind/version && containerd --version && runc --version
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]

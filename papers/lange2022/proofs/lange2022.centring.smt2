(set-logic QF_NRA)
(declare-fun n2 () Real)
(declare-fun low () Real)
(declare-fun mu () Real)
(declare-fun sigma () Real)
(declare-fun q () Real)
(declare-fun m () Real)
(declare-fun high () Real)
(declare-fun b () Real)
(assert
 (let ((?x167 (* m q q sigma sigma)))
 (let (($x41 (<= 0.0 (+ ?x167 (* (- 1.0) mu mu low) (* (- 1.0) low n2)))))
 (let ((?x163 (* high n2)))
 (let ((?x57 (* (- 1.0) m q q sigma sigma)))
 (and (<= 0.0 (+ m (* (- 1.0) low))) (<= 0.0 (+ (* (- 1.0) m) high)) (<= 0.0 (+ ?x57 (* (- 1.0) m mu mu) ?x163)) $x41))))))
(assert
 (let ((?x43 (* m b b)))
 (let ((?x167 (* m q q sigma sigma)))
 (let (($x210 (< 0.0 (+ ?x167 ?x43 (* (- 1.0) high b b) (* (- 1.0) high n2)))))
 (let ((?x365 (* low n2)))
 (let ((?x422 (* low b b)))
 (let ((?x57 (* (- 1.0) m q q sigma sigma)))
 (or (< 0.0 (+ ?x57 (* (- 1.0) m b b) ?x422 ?x365)) $x210))))))))
(assert
 (<= 0.0 (+ (* (- 1.0) q) 1.0)))
(assert
 (< 0.0 m))
(assert
 (<= 0.0 q))
(assert
 (< 0.0 sigma))
(assert
 (<= 0.0 low))
(assert
 (< 0.0 high))
(assert
 (< 0.0 n2))
(assert
 (let ((?x48 (+ m (- 2.0))))
(<= 0.0 ?x48)))
(check-sat)
